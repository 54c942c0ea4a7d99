"""Makes the clip that `make demo` analyses: a drawn head that says four sentences.

    apt install espeak-ng
    python experiments/talking_clip/make_clip.py --out src/multigrain/assets/talking_clip

The face is drawn by `face.py`, the sentences are ours, and the voice is that of the program espeak-ng. The mouth follows the sound: its opening the
loudness, its width the share of high frequencies. Brows, corners of the mouth and speed of speech follow the mood written beside each sentence.
It needs espeak-ng, and of Python's packages numpy, scipy, av and opencv.
"""

import argparse
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from face import SIZE, Pose, picture
from scipy.io import wavfile
from scipy.ndimage import gaussian_filter1d
from scipy.signal import resample_poly, stft

RATE_HZ, SAMPLE_RATE_HZ = 25, 24_000
BEFORE_SECONDS, PAUSE_SECONDS, AFTER_SECONDS = 0.5, 0.55, 0.6
VOICE = ("-v", "en-us+f3", "-g", "1")
BLINKS_SECONDS = (0.35, 2.6, 4.1, 6.7, 9.0, 11.2, 13.3)


@dataclass(frozen=True)
class Sentence:
    """What is said, how fast (words a minute) and high (espeak-ng's 0..99), and how the face looks meanwhile: -1 unhappy .. 1 happy."""

    text: str
    speed: int
    pitch: int
    mood: float


SENTENCES = (
    Sentence("I watched the new film with my sister last night.", 165, 50, 0.0),
    Sentence("The music was wonderful, and I loved every minute!", 170, 62, 1.0),
    Sentence("But the ending was terrible, and I was bored.", 150, 38, -1.0),
    Sentence("It is two hours long.", 165, 48, 0.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    sound, places = spoken_sentences()
    (out / "talking.srt").write_text(subtitles(places), encoding="utf-8")
    poses = poses_of(sound, places)
    write_video(out / "talking.mp4", sound, poses)
    print(f"{out / 'talking.mp4'}: {len(sound) / SAMPLE_RATE_HZ:.1f} s, {(out / 'talking.mp4').stat().st_size / 1000:.0f} kB")


# Sound ----------------------------------------------------------------------------------------------------------


def spoken_sentences() -> tuple[np.ndarray, list[tuple[float, float]]]:
    """The whole sound in -1..1, and when each sentence begins and ends, in seconds."""
    pieces, places, seconds = [silence(BEFORE_SECONDS)], [], BEFORE_SECONDS
    for sentence in SENTENCES:
        samples = spoken(sentence)
        length = len(samples) / SAMPLE_RATE_HZ
        places.append((seconds, seconds + length))
        pieces += [samples, silence(PAUSE_SECONDS)]
        seconds += length + PAUSE_SECONDS
    sound = np.concatenate([*pieces, silence(AFTER_SECONDS - PAUSE_SECONDS)])
    room = 0.0006 * np.random.default_rng(0).normal(size=len(sound))
    return 0.7 * sound / np.abs(sound).max() + room, places


def spoken(sentence: Sentence) -> np.ndarray:
    """A sentence by espeak-ng, without silence at its ends."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        subprocess.run(["espeak-ng", *VOICE, "-s", str(sentence.speed), "-p", str(sentence.pitch), "-w", str(path), sentence.text], check=True)
        rate, samples = wavfile.read(path)
    values = resample_poly(samples / 32768.0, SAMPLE_RATE_HZ, rate)
    loud = np.flatnonzero(np.abs(values) > 0.01)
    return values[loud[0] : loud[-1] + 1]


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ))


def subtitles(places: list[tuple[float, float]]) -> str:
    """The sentences as .srt."""

    def clock(seconds: float) -> str:
        thousandths = round(1000 * seconds)
        return f"00:00:{thousandths // 1000:02d},{thousandths % 1000:03d}"

    cues = [
        f"{number}\n{clock(begin)} --> {clock(end)}\n{sentence.text}\n"
        for number, (sentence, (begin, end)) in enumerate(zip(SENTENCES, places, strict=True), start=1)
    ]
    return "\n".join(cues)


# Movement -------------------------------------------------------------------------------------------------------


def poses_of(sound: np.ndarray, places: list[tuple[float, float]]) -> list[Pose]:
    """What the face does in each picture."""
    count = int(len(sound) / SAMPLE_RATE_HZ * RATE_HZ)
    seconds = (np.arange(count) + 0.5) / RATE_HZ
    opening, spread = mouth(sound, seconds)
    mood = np.zeros(count)
    for sentence, (begin, end) in zip(SENTENCES, places, strict=True):
        mood[(seconds > begin - 0.25) & (seconds < end + 0.25)] = sentence.mood
    mood = gaussian_filter1d(mood, 0.16 * RATE_HZ)
    happy, unhappy = np.clip(mood, 0, 1), np.clip(-mood, 0, 1)
    generator = np.random.default_rng(3)
    sway = [gaussian_filter1d(generator.normal(size=count + 200), 14)[100:-100] * 5 for _ in range(5)]
    nod = gaussian_filter1d(opening, 4) - gaussian_filter1d(opening, 20)
    lids = np.ones(count)
    for blink in BLINKS_SECONDS:
        lids *= 1.0 - np.exp(-(((seconds - blink) / 0.07) ** 2))
    return [
        Pose(
            smile=float(happy[k] * 0.95 - unhappy[k] * 0.75),
            frown=float(0.95 * unhappy[k]),
            raised=float(np.clip(0.35 * happy[k] + 1.2 * nod[k], 0, 1)),
            open=float(opening[k]),
            wide=float(spread[k]),
            lids=float(lids[k]),
            yaw=float(0.035 * sway[0][k]),
            pitch=float(0.02 * sway[1][k] + 0.10 * nod[k] + 0.03 * unhappy[k]),
            roll=float(0.018 * sway[2][k] + 0.02 * happy[k]),
            gaze=(float(0.10 * sway[3][k]), float(0.08 * sway[4][k])),
        )
        for k in range(count)
    ]


def mouth(sound: np.ndarray, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Its opening, 0..1, and its width, -1..1, at these seconds."""
    frequencies, times, parts = stft(sound, SAMPLE_RATE_HZ, nperseg=960, noverlap=720)
    power = np.abs(parts) ** 2

    def band(low: float, high: float) -> np.ndarray:
        return power[(frequencies >= low) & (frequencies < high)].sum(axis=0)

    open_vowels, high = np.sqrt(band(350, 1100)), band(1700, 5000)
    opening = np.clip(open_vowels / np.percentile(open_vowels, 97), 0, 1) ** 0.7
    loud = np.clip(np.sqrt(power.sum(axis=0)) / np.percentile(np.sqrt(power.sum(axis=0)), 90), 0, 1)
    spread = loud * np.clip(2.0 * np.sqrt(high / (high + band(100, 1100) + 1e-9)) - 0.5, -1, 1)
    return np.interp(seconds, times, gaussian_filter1d(opening, 3.5)), np.interp(seconds, times, gaussian_filter1d(spread, 5))


# File -----------------------------------------------------------------------------------------------------------


def write_video(path: Path, sound: np.ndarray, poses: list[Pose]) -> None:
    """H.264 and AAC in mp4, its index first."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        shown = file.add_stream("libx264", rate=RATE_HZ, options={"crf": "24", "preset": "slow", "g": "50"})
        shown.width, shown.height, shown.pix_fmt = *SIZE, "yuv420p"
        heard = file.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        heard.bit_rate = 64_000
        for number, pose in enumerate(poses):
            frame = av.VideoFrame.from_ndarray(picture(pose), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE_HZ)
            file.mux(shown.encode(frame))
        for start in range(0, len(sound), 1024):
            piece = av.AudioFrame.from_ndarray(sound[None, start : start + 1024].astype(np.float32), format="fltp", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = SAMPLE_RATE_HZ, start, Fraction(1, SAMPLE_RATE_HZ)
            file.mux(heard.encode(piece))
        for stream in (shown, heard):
            file.mux(stream.encode(None))


if __name__ == "__main__":
    main()
