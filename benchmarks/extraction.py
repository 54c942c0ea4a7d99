"""Real-time factor and memory of extraction, for a talking face of 640 x 360 pixels, 25 pictures a second, with a known transcript.

    python benchmarks/extraction.py CLIPS [--seconds 120 3600] [--transcript srt|txt|none] [--folder /tmp] [--json FILE]

CLIPS is a folder of GRID clips (`grid_*.mpg`; the name's last part spells the six words). Their pictures are scaled, their sound is taken as
it is, and all are encoded once as H.264 and AAC; a file repeats them to each of the asked lengths. Extraction is run once on twelve seconds, so
that libraries and models are loaded, and then on each file, in the same process; the factor is seconds of work by seconds of video. Parts run
side by side, so that they sum to more than the whole. Memory is sampled twice a second: the process's own (RssAnon) at tenths of the work, and
the highest resident that far (VmHWM). Exits with 1 where a factor is above 0.10, the memory above 1.5 GB.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from multigrain.benchmark.grid import words_of_grid_clip

SIZE, FPS, RATE = (640, 360), 25, 16_000
MOST_FACTOR, MOST_MEGABYTES = 0.10, 1500


def encode(clips: list[Path], path: Path) -> list[tuple[float, float, str]]:
    """Writes the clips one after the other; returns start, end and words of each."""
    cues: list[tuple[float, float, str]] = []
    with av.open(str(path), "w") as target:
        video = target.add_stream("libx264", rate=FPS, width=SIZE[0], height=SIZE[1], pix_fmt="yuv420p", options={"preset": "veryfast", "crf": "23"})
        audio = target.add_stream("aac", rate=RATE, layout="mono")
        number, samples = 0, []
        for clip in clips:
            start = number / FPS
            with av.open(str(clip)) as source:
                for frame in source.decode(video=0):
                    picture = frame.reformat(width=SIZE[0], height=SIZE[1], format="yuv420p")
                    picture.pts, picture.time_base = number, Fraction(1, FPS)
                    target.mux(video.encode(picture))
                    number += 1
            with av.open(str(clip)) as source:
                resampler = av.AudioResampler("s16", "mono", RATE)
                heard = [piece.to_ndarray()[0] for frame in source.decode(audio=0) for piece in resampler.resample(frame)]
            wanted = round(number / FPS * RATE) - sum(map(len, samples))
            sound = np.concatenate(heard)[:wanted]
            samples.append(np.pad(sound, (0, wanted - len(sound))))
            cues.append((start, number / FPS, words_of_grid_clip(clip)))
        target.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(np.concatenate(samples)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        resampler = av.AudioResampler(audio.codec_context.format, "mono", RATE, frame_size=1024)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            target.mux(audio.encode(piece))
        target.mux(audio.encode(None))
    return cues


def repeat(once: Path, times: int, length: float, path: Path) -> None:
    """Writes the file's packets so many times, one after the other."""
    with av.open(str(once)) as source, av.open(str(path), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        last: dict[int, int] = {}
        for turn in range(times):
            source.seek(0)
            for packet in source.demux():
                if packet.dts is None:
                    continue
                index, shift = packet.stream.index, round(turn * length / packet.time_base)
                if packet.dts + shift <= last.get(index, packet.dts + shift - 1):  # an encoder's padding reaches into the next turn
                    continue
                last[index] = packet.dts + shift
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, streams[index]
                target.mux(packet)


def write_transcript(path: Path, cues: list[tuple[float, float, str]], times: int, length: float) -> Path:
    def stamp(seconds: float) -> str:
        return f"{int(seconds // 3600):02}:{int(seconds // 60 % 60):02}:{int(seconds % 60):02},{round(seconds % 1 * 1000):03}"

    lines = []
    for turn in range(times):
        for start, end, words in cues:
            times_of_cue = f"{stamp(turn * length + start)} --> {stamp(turn * length + end)}"
            lines.append(words + "." if path.suffix == ".txt" else f"{len(lines) + 1}\n{times_of_cue}\n{words}\n")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def status(name: str) -> float:
    """A line of /proc/self/status in megabytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))


def measure(video: Path, transcript: Path | None) -> dict[str, Any]:
    from multigrain.video.extract import extract_video

    memory: list[float] = []
    is_done = threading.Event()

    def watch() -> None:
        while not is_done.wait(0.5):
            memory.append(status("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin, cpu = time.perf_counter(), time.process_time()
    found = extract_video(video, transcript=transcript)
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    is_done.set()
    watcher.join()
    words = [time for times in found.word_times for time in times]
    tenths = [round(memory[round(share / 10 * (len(memory) - 1))]) for share in range(11)] if memory else []
    return {
        "video_seconds": found.duration_seconds,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "factor": wall / found.duration_seconds,
        "parts": {part: seconds / found.duration_seconds for part, seconds in found.seconds.items()},
        "utterances": len(found.utterances),
        "words_placed": sum(time is not None for time in words),
        "words": len(words),
        "face_share": found.face_share,
        "voice_share": found.voice_share,
        "own_megabytes": tenths,
        "peak_megabytes": round(status("VmHWM")),
        "notes": found.notes,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("--seconds", type=float, nargs="+", default=[120.0, 3600.0])
    parser.add_argument("--transcript", choices=("srt", "txt", "none"), default="srt")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    clips = sorted(arguments.clips.glob("grid_*.mpg"))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        cues = encode(clips, folder / "once.mp4")
        length = cues[-1][1]
        figures = []
        for run, seconds in enumerate([12.0, *arguments.seconds]):
            times = max(1, round(seconds / length))
            video = folder / f"{run}.mp4"
            repeat(folder / "once.mp4", times, length, video)
            suffix = arguments.transcript
            transcript = None if suffix == "none" else write_transcript(folder / f"{run}.{suffix}", cues, times, length)
            figures.append(measure(video, transcript))
    print_tables(figures[0], figures[1:], arguments.transcript)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    return int(any(warm["factor"] > MOST_FACTOR or warm["peak_megabytes"] > MOST_MEGABYTES for warm in figures[1:]))


def print_tables(cold: dict[str, Any], warm: list[dict[str, Any]], transcript: str) -> None:
    print(f"{os.cpu_count()} CPU cores, transcript {transcript}")
    print(f"cold, libraries and models loaded first: {cold['wall_seconds']:.1f} s for {cold['video_seconds']:.0f} s of video\n")

    def row(name: str, values: Iterable[str]) -> None:
        print(f"| {name} | {' | '.join(values)} |")

    row("seconds of work by second of video", [f"{run['video_seconds']:.0f} s of video" for run in warm])
    row("---", ["---"] * len(warm))
    for part in warm[0]["parts"]:
        row(part, [f"{run['parts'].get(part, 0.0):.4f}" for run in warm])
    row("CPU seconds, of both cores", [f"{run['cpu_seconds'] / run['video_seconds']:.3f}" for run in warm])
    row("**whole, on the clock**", [f"**{run['factor']:.3f}**" for run in warm])
    row("utterances", [str(run["utterances"]) for run in warm])
    row("words placed", [f"{run['words_placed']} of {run['words']}" for run in warm])
    row("face share", [f"{run['face_share']:.3f}" for run in warm])
    row("voice share", [f"{run['voice_share']:.3f}" for run in warm])
    row("highest resident memory", [f"{run['peak_megabytes']} MB" for run in warm])
    print()
    row("own memory at tenths of the work, MB", map(str, range(11)))
    row("---", ["---"] * 11)
    for run in warm:
        row(f"{run['video_seconds']:.0f} s of video", map(str, run["own_megabytes"]))
    print(f"\nnotes: {[run['notes'] for run in warm]}")


if __name__ == "__main__":
    sys.exit(main())
