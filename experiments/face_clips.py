"""What `multigrain analyze` makes of a folder of clips: a row of a table each, and a contact sheet to look at.

    python experiments/face_clips.py CLIPS --out FOLDER

Clips that are called `grid_*` are given the words that the last part of their names spells; the others come without transcript. The sheet
(`sheet.png`) shows six pictures of each clip with the points of the followed face, and under them what was found. It shows the people in the
clips, and belongs where the clips belong. docs/decisions/video.md has the table of the real clips.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from multigrain.analysis.analyze import analyze_extracted
from multigrain.analysis.report_html import signed, write_page
from multigrain.analysis.result import TITLES, Analysis, UtteranceAnalysis
from multigrain.benchmark.grid import words_of_grid_clip
from multigrain.cli.analyze import quiet_libraries
from multigrain.models import load
from multigrain.models.base import MultimodalModel
from multigrain.models.default_checkpoint import default_checkpoint
from multigrain.video.extract import ExtractedVideo, extract_video
from multigrain.video.face_tracking import FaceTracker
from multigrain.video.facial import FRAME_RATE_HZ
from multigrain.video.limits import Limits
from multigrain.video.media import inspect_media, pictures

ENDINGS = (".mp4", ".mov", ".mpg", ".mkv", ".webm", ".avi")
SHOWN, TILE = 6, (240, 180)


@dataclass(frozen=True)
class Looked:
    """What was made of one clip, and the seconds that took."""

    clip: Path
    extracted: ExtractedVideo
    analysis: Analysis
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="for the contact sheet and the reports")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    clips = sorted(path for path in options.clips.iterdir() if path.suffix.lower() in ENDINGS)
    with quiet_libraries():
        model = load(str(default_checkpoint()))
        looked(clips[0], model)  # libraries and models are loaded
        found = [looked(clip, model) for clip in clips]
        cv2.imwrite(str(options.out / "sheet.png"), np.vstack([strip(one) for one in found])[..., ::-1])
        for one in found:
            write_page(options.out / f"{one.clip.stem}.html", one.analysis, video=one.clip)
    print(table(found))


def looked(clip: Path, model: MultimodalModel) -> Looked:
    """Extracts and analyses one clip."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        transcript = None
        if clip.stem.startswith("grid_"):
            transcript = Path(folder) / "said.txt"
            transcript.write_text(words_of_grid_clip(clip))
        extracted = extract_video(clip, transcript=transcript)
    analysis = analyze_extracted(extracted, source=clip.name, model=model, checkpoint=default_checkpoint())
    return Looked(clip, extracted, analysis, time.perf_counter() - begin)


def table(found: list[Looked]) -> str:
    """A row a clip, as Markdown."""
    rows = ["| clip | s | words placed | face | voice | utterances | scores (90 % interval) | from | seconds |", "|" + " --- |" * 9]
    for one in found:
        facts = [f"{one.extracted.duration_seconds:.1f}", words(one), share(one.extracted.face_share), share(one.extracted.voice_share)]
        scores = "; ".join(score(utterance) for utterance in one.analysis.utterances)
        rows.append(f"| {one.clip.stem} | {' | '.join(facts)} | {len(one.analysis.utterances)} | {scores} | {sources(one)} | {one.seconds:.1f} |")
    notes = [f"{one.clip.stem}: {' '.join(one.analysis.notes)}" for one in found if one.analysis.notes]
    return "\n".join([*rows, "", *notes])


def words(one: Looked) -> str:
    """How many of the known words have a time."""
    times = [time for utterance in one.extracted.word_times for time in utterance]
    return f"{sum(time is not None for time in times)} of {len(times)}" if times else ""


def share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


def score(utterance: UtteranceAnalysis) -> str:
    if not utterance.modalities:
        return "nothing there"
    interval = utterance.interval
    return signed(utterance.score) + ("" if interval is None else f" ({signed(interval.low)} to {signed(interval.high)})")


def sources(one: Looked) -> str:
    """The modalities that any of its utterances has."""
    present = {part.modality for utterance in one.analysis.utterances for part in utterance.modalities}
    return ", ".join(title for name, title in TITLES.items() if name in present) or "nothing"


def strip(one: Looked) -> np.ndarray:
    """A clip's pictures in a row, with the points of the followed face, over two lines of text."""
    media, tiles = inspect_media(one.clip, Limits()), []
    wanted = iter(np.linspace(0.05, 0.95, SHOWN) * one.extracted.duration_seconds)
    due = next(wanted)
    with FaceTracker() as tracker:
        for picture in pictures(media, FRAME_RATE_HZ):
            seconds = picture.steps.start / FRAME_RATE_HZ
            points = tracker.follow(picture.pixels, seconds)
            if seconds >= due and len(tiles) < SHOWN:
                tiles.append(tile(picture.pixels, points))
                due = next(wanted, np.inf)
    tiles += [np.zeros((TILE[1], TILE[0], 3), np.uint8)] * (SHOWN - len(tiles))
    label = np.full((44, SHOWN * TILE[0], 3), 255, np.uint8)
    shares = f"face {share(one.extracted.face_share)}, voice {share(one.extracted.voice_share)}"
    first = f"{one.clip.stem}: {shares}, words placed {words(one) or 'none'}, from {sources(one)}"
    second = "; ".join(score(utterance) for utterance in one.analysis.utterances)
    for line, text in enumerate((first, second)):
        cv2.putText(label, text.replace("\u2212", "-"), (6, 17 + 20 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([np.hstack(tiles), label])


def tile(pixels: np.ndarray, points: np.ndarray | None) -> np.ndarray:
    """A picture within the tile's size, the face's points in green."""
    scale = min(TILE[0] / pixels.shape[1], TILE[1] / pixels.shape[0])
    small = cv2.resize(np.ascontiguousarray(pixels), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for x, y in () if points is None else (points[:, :2] * scale).round().astype(int):
        cv2.circle(small, (int(x), int(y)), 0, (0, 255, 0), -1)
    made = np.zeros((TILE[1], TILE[0], 3), np.uint8)
    made[: small.shape[0], : small.shape[1]] = small[: TILE[1], : TILE[0]]
    return made


if __name__ == "__main__":
    main()
