"""The demonstration: a made data set whose best score is known, three models trained on it, and a report; then a talking clip, analysed."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from multigrain.evaluation.comparison import Comparison

if TYPE_CHECKING:
    from multigrain.analysis.result import Analysis
    from multigrain.data.planted import PlantedConfig

logger = logging.getLogger(__name__)

RECIPES: tuple[str, ...] = ("planted/mcmut", "planted/mult", "planted/lf_lstm")
TRAIN_SIZE = 4000
"""Two thirds of the default, so that the demonstration takes minutes on two old cores."""
TALKING_CLIP = Path(__file__).parent / "assets" / "talking_clip" / "talking.mp4"
"""A drawn head that says four sentences, which are beside it as subtitles; experiments/talking_clip makes it."""


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration made.

    Attributes:
        store: the planted data set.
        comparison: of the models.
        report: the HTML file.
    """

    store: Path
    comparison: Comparison
    report: Path


@dataclass(frozen=True)
class TalkingDemo:
    """What was made of the talking clip.

    Attributes:
        analysis: by the checkpoint that comes with multigrain.
        report: the HTML file, with the clip in it.
    """

    analysis: "Analysis"
    report: Path


def run_demo(
    out: str | Path,
    *,
    workers: int = 2,
    recipes: Sequence[str] = RECIPES,
    config: "PlantedConfig | None" = None,
    overrides: Sequence[str] = (),
    progress: Callable[[str], None] = logger.info,
) -> DemoResult:
    """Makes the planted data set, trains the models on it with one seed each, and writes the report.

    What an earlier, interrupted demonstration left in the folder is used again.

    Args:
        out: folder for the data set, the runs and the report.
        workers: models to train at once, each on one thread when there are several.
        recipes: to compare; the last one is the reference of the tests.
        config: dials of the planted data set; the default instance with `TRAIN_SIZE` training utterances when None.
        overrides: dotted overrides for all recipes.
        progress: takes one line at a time to show to the user.
    """
    from multigrain.data.planted import PlantedConfig, write_planted_store
    from multigrain.evaluation.compare import compare
    from multigrain.report import write_report

    dials = PlantedConfig(train_size=TRAIN_SIZE) if config is None else config
    started, folder = time.monotonic(), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "planted.store"
    if store.exists():
        progress(f"[1/4] The planted data set is there already: {store}")
    else:
        progress(f"[1/4] Making the planted data set ({sum(dials.sizes.values()):,} utterances; the best possible score is known) ...")
        write_planted_store(store, dials)
    progress(f"[2/4] Training {', '.join(recipes)}, {workers} at a time ...")
    comparison = compare(
        recipes,
        seeds=1,
        runs_root=folder / "runs",
        workers=workers,
        overrides=[f"data.store={store}", *overrides],
        progress=lambda line: progress(f"  {time.monotonic() - started:4.0f} s  {line}"),
    )
    progress("[3/4] Writing the report (scores the models' attention against the truth) ...")
    report = write_report(folder / "report.html", comparison)
    progress(f"Done in {time.monotonic() - started:.0f} s: {report}")
    return DemoResult(store, comparison, report)


def analyse_talking_clip(out: str | Path, *, progress: Callable[[str], None] = logger.info) -> TalkingDemo:
    """Analyses the talking clip that comes with multigrain by the checkpoint that comes with it, and writes the report.

    Args:
        out: folder for the report.
        progress: takes one line at a time to show to the user.

    Raises:
        MultigrainError: a library of the extras `video` and `language` is not installed.
    """
    from multigrain.analysis.analyze import analyze
    from multigrain.analysis.report_html import write_page

    started = time.monotonic()
    progress("[4/4] Analysing a talking clip with the checkpoint that is included ...")
    analysis = analyze(TALKING_CLIP, transcript=TALKING_CLIP.with_suffix(".srt"))
    report = write_page(Path(out) / "talking.html", analysis, video=TALKING_CLIP, media="embed")
    progress(f"Done in {time.monotonic() - started:.0f} s: {report}")
    return TalkingDemo(analysis, report)
