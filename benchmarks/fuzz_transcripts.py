"""Random transcripts of every format: each must be read, or be refused with a VideoError, within a time and a memory.

    python benchmarks/fuzz_transcripts.py --inputs 12000

Prints a line a format: inputs (one in 40 drawn by hypothesis, the others mutations of
it), how many were read and how many refused, the slowest of them, the memory that all of them added. Ends with 1 at the first
input that raises anything else, or takes longer than the limit; the input is printed.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from multigrain.errors import VideoError
from multigrain.video.limits import Limits
from multigrain.video.segment import by_speaker, segments_of_cues, segments_of_words, split_long
from multigrain.video.transcript import READERS, read_transcript

VIDEO_SECONDS = 100.0
MUTATIONS = 40
"""Inputs that are made of each that hypothesis draws, the drawn one among them."""
TEXT = st.sampled_from(
    [
        *(
            "so good",
            "I <3 this -> really",
            "Ann Lee: no.",
            "[SPEAKER_00]: yes",
            "Bo 0:12",
            "[0:04] hi",
            "(laughs) fine",
            "[Music] *sighs* (I mean it)",
            "Ann (V.O.): I <b and b>c",
            "0.5\t2.5\tso bad",
            "♪ la ♪",
            "10",
            "NOTE x",
            "STYLE",
        ),
        *(
            "<v Ann>hi</v>",
            "<b>bold",
            "{\\an8}up",
            "{\\p1}m 0 0{\\p0}",
            "&amp;&#0;&#x110000;",
            "&lt;v&gt;",
            "\u00ad\u200c\u200d\u202e",
            "我讨厌这部电影。",
            "می\u200cخواهم",
        ),
        *(
            "ฉันเกลียด",
            "\U0001f468\u200d\U0001f469",
            "<" * 300,
            "[" * 300,
            "{" * 300,
            "(" * 300,
            "*a" * 200,
            "www.a.com subtitles",
            "-" * 200,
            "",
            " ",
            "WEBVTT",
            "\x00",
            "\ud800",
        ),
    ]
)
CLOCK = st.one_of(
    st.builds("{}:{:02d}:{:02d},{:03d}".format, st.integers(0, 2), st.integers(0, 99), st.integers(0, 99), st.integers(0, 999)),
    st.builds("{:02d}:{:02d}.{}".format, st.integers(0, 200), st.integers(0, 59), st.integers(0, 9)),
    st.sampled_from(["0:04", "-00:00:01,000", "00:00:00", "99:99:99,999", "1:2", "::", "999999999:00", ""]),
)
LINE = st.one_of(
    TEXT,
    st.text(max_size=30),
    st.builds("{} --> {}{}".format, CLOCK, CLOCK, st.sampled_from(["", " align:start", " so good"])),
    CLOCK,
    st.builds("{} {}".format, CLOCK, TEXT),
    st.builds("{}  {}".format, TEXT, CLOCK),
    st.builds("Dialogue: 0,0:00:{:02d}.00,0:00:{:02d}.50,Default,{},0,0,0,,{}".format, st.integers(0, 99), st.integers(0, 99), TEXT, TEXT),
)
LINES = st.builds(lambda lines, end: end.join(lines), st.lists(LINE, max_size=25), st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
NUMBER = st.one_of(st.floats(), st.integers(-(10**30), 10**30), st.floats(0, 100), st.none(), st.sampled_from(["0.5", "1.4s", "0:01", True, [], {}]))
KEYS = [
    "word",
    "text",
    "start",
    "end",
    "words",
    "segments",
    "chunks",
    "timestamp",
    "timestamps",
    "offsets",
    "speaker",
    "result",
    "results",
    "alternatives",
]
KEYS += [
    "events",
    "segs",
    "utf8",
    "tStartMs",
    "dDurationMs",
    "tOffsetMs",
    "recognizedPhrases",
    "phrases",
    "nBest",
    "offset",
    "offsetInTicks",
    "display",
]
KEYS += [
    "offsetMilliseconds",
    "word_segments",
    "utterances",
    "items",
    "type",
    "from",
    "to",
    "duration",
    "transcription",
    "channels",
    "elements",
    "ts",
    "end_ts",
    "value",
]
ENTRY = st.fixed_dictionaries(
    {"text": TEXT, "start": NUMBER, "end": NUMBER},
    optional={"speaker": st.one_of(TEXT, NUMBER), "words": st.just([{"word": " a", "start": 1, "end": 2}])},
)
VALUE = st.recursive(
    st.one_of(NUMBER, TEXT, ENTRY, st.lists(ENTRY, max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)),
    max_leaves=12,
)
HEADS = {
    ".vtt": "WEBVTT\n\n",
    ".ass": "[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n",
}


FRAMES = ("segments", "words", "chunks", "transcription", "result", "utterances", "")


def json_text(value: object) -> str:
    return json.dumps(value)


def contents(suffix: str) -> st.SearchStrategy[bytes]:
    """Mostly files that look like the format, and some bytes of any kind."""
    if suffix == ".json":
        listed = st.builds(json_text, st.lists(ENTRY, min_size=2, max_size=12))
        text = st.one_of(listed, listed, st.builds(json_text, VALUE), st.builds(lambda a, b: json_text(a) + "\n" + json_text(b), VALUE, VALUE), LINES)
    else:
        head = HEADS.get(suffix, "")
        text = st.builds(lambda lines, has_head: (head if has_head else "") + lines, LINES, st.booleans())
    encoded = st.builds(lambda one, how: one.encode(*how), text, st.sampled_from([("utf-8", "replace")] * 8 + [("utf-16", "surrogatepass")]))
    return st.one_of(encoded, encoded, encoded, st.binary(max_size=200))


def mutations(content: bytes, seed: int) -> Iterator[bytes]:
    """A drawn file, and others made of it: lines and bytes left out, said twice, moved, changed."""
    chance = random.Random(seed)
    yield content
    for _ in range(MUTATIONS - 1):
        if content[:1] == b"[" and chance.random() < 0.9 and (entries := json_list(content)):
            yield json_text(changed_entries(entries, chance)).encode()
            continue
        is_of_lines = chance.random() < 0.7
        parts = content.split(b"\n") if is_of_lines else [content[place : place + 1] for place in range(len(content))]
        for _ in range(chance.randint(1, 4)):
            if parts:
                place, other = chance.randrange(len(parts)), chance.randrange(len(parts))
                kind = chance.randrange(4)
                if kind == 0:
                    del parts[place]
                elif kind == 1:
                    parts.insert(other, parts[place])
                elif kind == 2:
                    parts[place], parts[other] = parts[other], parts[place]
                else:
                    parts[place] = parts[place][: len(parts[place]) // 2] + bytes([chance.randrange(256)])
        yield (b"\n" if is_of_lines else b"").join(parts)


def json_list(content: bytes) -> list[Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def changed_entries(entries: list[Any], chance: random.Random) -> Any:
    """Some of the entries with plausible times, in any order, in one of the frames that recognisers put around them."""
    chosen = [dict(entry) if isinstance(entry, dict) else entry for entry in chance.choices(entries, k=chance.randint(1, 12))]
    now = 0.0
    for entry in chosen:
        if isinstance(entry, dict) and chance.random() < 0.9:
            entry["start"], now = now + chance.uniform(-0.3, 1), now + chance.uniform(0, 3)
            entry["end"] = now
            if chance.random() < 0.1:
                entry[chance.choice(["start", "end"])] = chance.choice([None, -0.02, now - 0.2, 1e9, "0:04", True])
            if chance.random() < 0.3:
                entry["words"] = [{"word": word, "start": now, "end": now + 0.1} for word in str(entry.get("text")).split()[:5]]
    frame = chance.choice(FRAMES)
    return {frame: chosen, "text": "x"} if frame else chosen


def check(path: Path, seen: Counter[str]) -> None:
    """Reads a transcript and makes utterances of it, as extraction does before it listens."""
    try:
        found = read_transcript(path, Limits())
    except VideoError:
        seen["refused"] += 1
        return
    seen["read"] += 1
    segments = [piece for one in segments_of_cues(found.cues, VIDEO_SECONDS) for part in by_speaker(one) for piece in split_long(part, VIDEO_SECONDS)]
    words = [word for word in found.words if word.start is None or word.start < VIDEO_SECONDS]
    times = [None if word.start is None or word.end is None else (word.start, min(word.end, VIDEO_SECONDS)) for word in words]
    segments += segments_of_words([word.text for word in words], times, VIDEO_SECONDS, passages=[word.passage for word in words])
    assert all(0 <= one.start <= one.end <= VIDEO_SECONDS and len(one.words) == len(one.word_times) for one in segments), segments


def fuzz(suffix: str, inputs: int, limit_seconds: float) -> str:
    """Reads random files of a format; the line that says how it went."""
    seen: Counter[str] = Counter()
    slowest = [0.0]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"

        @settings(
            max_examples=max(1, inputs // MUTATIONS), database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @given(contents(suffix), st.integers(0, 2**32))
        def run(drawn: bytes, seed: int) -> None:
            for content in mutations(drawn, seed):
                path.write_bytes(content)
                start = time.process_time()
                try:
                    check(path, seen)
                except BaseException:
                    print(f"{suffix}: {content!r}", flush=True)
                    raise
                slowest[0] = max(slowest[0], time.process_time() - start)
                assert slowest[0] < limit_seconds, f"{slowest[0]:.1f} s for {content[:200]!r}"

        run: Callable[[], None]
        run()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    total = seen.total()
    return (
        f"{suffix:6} {total:7} inputs, {seen['read']:6} read, {seen['refused']:6} refused, slowest {1000 * slowest[0]:.0f} ms, "
        f"memory grew by {grown:.0f} MB, {time.perf_counter() - begin:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=12_000, help="of each format")
    parser.add_argument("--formats", nargs="*", default=[suffix for suffix in READERS if suffix != ".ssa"])
    parser.add_argument("--limit-seconds", type=float, default=2.0, help="of processor time, for one input")
    parser.add_argument("--limit-megabytes", type=int, default=4_000, help="of address space, for all")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (arguments.limit_megabytes << 20,) * 2)
    for suffix in arguments.formats:
        print(fuzz(suffix, arguments.inputs, arguments.limit_seconds), flush=True)


if __name__ == "__main__":
    sys.exit(main())
