"""The demonstration: a made data set whose best score is known, three models trained on it, and a report."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from multigrain.evaluation.comparison import Comparison

if TYPE_CHECKING:
    from multigrain.data.planted import PlantedConfig

logger = logging.getLogger(__name__)

RECIPES: tuple[str, ...] = ("planted/mcmut", "planted/mult", "planted/lf_lstm")


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
        config: dials of the planted data set; the default instance when None.
        overrides: dotted overrides for all recipes.
        progress: takes one line at a time to show to the user.
    """
    from multigrain.data.planted import PlantedConfig, write_planted_store
    from multigrain.evaluation.compare import compare
    from multigrain.report import write_report

    dials = PlantedConfig() if config is None else config
    started, folder = time.monotonic(), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "planted.store"
    if store.exists():
        progress(f"[1/3] The planted data set is there already: {store}")
    else:
        progress(f"[1/3] Making the planted data set ({sum(dials.sizes.values()):,} utterances; the best possible score is known) ...")
        write_planted_store(store, dials)
    progress(f"[2/3] Training {', '.join(recipes)}, {workers} at a time ...")
    comparison = compare(
        recipes,
        seeds=1,
        runs_root=folder / "runs",
        workers=workers,
        overrides=[f"data.store={store}", *overrides],
        progress=lambda line: progress(f"  {time.monotonic() - started:4.0f} s  {line}"),
    )
    progress("[3/3] Writing the report (scores the models' attention against the truth) ...")
    report = write_report(folder / "report.html", comparison)
    progress(f"Done in {time.monotonic() - started:.0f} s: {report}")
    return DemoResult(store, comparison, report)
