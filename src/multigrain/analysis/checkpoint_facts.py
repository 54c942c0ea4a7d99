"""What is known of a checkpoint: facts for the report, and whether its features can be made from a video."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from multigrain.analysis.result import CheckpointFacts
from multigrain.errors import CheckpointError
from multigrain.evaluation.conformal import Conformal
from multigrain.models.base import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from multigrain.models.base import MultimodalModel

RUN_FILE = "run.json"


def facts_of(folder: Path, path_or_hub_id: str, model: "MultimodalModel", *, has_attention: bool) -> CheckpointFacts:
    """Facts about a checkpoint.

    Args:
        folder: where its files are.
        path_or_hub_id: what the user calls it.
        model: the loaded model.
        has_attention: whether its words attend the voice or the face.
    """
    description = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    conformal = Conformal.read(folder)
    card = folder / CARD_FILE
    reader = None if model.text_encoder is None else model.text_encoder.reader
    return CheckpointFacts(
        name=_name(folder, path_or_hub_id),
        model=model.name,
        paper=f"{model.paper.title}, {model.paper.venue} {model.paper.year}",
        multigrain_version=str(description.get("multigrain_version", "")),
        features={
            name: f"{spec.extractor} {spec.version}".strip() + (f", {spec.dim} numbers a step" if spec.dim else "")
            for name, spec in model.features.items()
        },
        text_encoder=None if reader is None else f"{reader.settings.name} ({reader.settings.mode.replace('_', ' ')})",
        sha256=hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest(),
        has_attention=has_attention,
        calibration=None if conformal is None else conformal.in_words(),
        card=card.read_text(encoding="utf-8") if card.is_file() else "",
        languages=() if reader is None else tuple(reader.settings.languages or ()),
    )


def _name(folder: Path, given: str) -> str:
    """The recipe and the run of a run's checkpoint; else the folder's name, or the hub id."""
    run_folder = folder.parent.parent
    if (run_folder / RUN_FILE).is_file():
        run = json.loads((run_folder / RUN_FILE).read_text(encoding="utf-8"))
        return f"{run.get('recipe')}, {run.get('name')}"
    return Path(given).name if Path(given).exists() else given


def check_extractable(model: "MultimodalModel", checkpoint: str | Path) -> None:
    """Checks that all features that a model reads can be made from a video.

    Raises:
        CheckpointError: a modality's features come from another extractor, or the text is given as vectors.
    """
    from multigrain.video.acoustic import ACOUSTIC_SPEC
    from multigrain.video.facial import FACIAL_SPEC

    advice = "Choose one that was trained on what `multigrain extract` makes, or leave --checkpoint out for the one that is included."
    for name, spec in model.features.items():
        made = {"audio": ACOUSTIC_SPEC, "vision": FACIAL_SPEC}.get(name)
        found = f"{spec.extractor!r}{f' {spec.version}' if spec.version else ''}, {spec.dim} numbers a step"
        if made is None:
            if model.text_encoder is None:
                raise CheckpointError(
                    f"The model in {checkpoint} cannot be used on a video: it reads its text as vectors of {found}, and the words of a video "
                    f"can only be read by a model with a language model. {advice}"
                )
        elif (difference := made.difference(spec)) is not None:
            raise CheckpointError(
                f"The model in {checkpoint} cannot be used on a video: it reads {name} features of {found}, and multigrain extracts "
                f"{made.extractor!r} {made.version}, {made.dim} numbers a step ({difference}). A model must be given the features that it was "
                f"trained on. {advice}"
            )


def check_reads_text(model: "MultimodalModel", checkpoint: str | Path) -> None:
    """Checks that a model can be given a transcript.

    Raises:
        CheckpointError: it reads no text, or only vectors.
    """
    if "text" not in model.features or model.text_encoder is None:
        what = f"vectors of {model.features['text'].extractor!r}" if "text" in model.features else "no text at all"
        raise CheckpointError(
            f"The model in {checkpoint} cannot be given a text: it reads {what}. Choose a checkpoint that was trained with a language model "
            "(text_encoder), or leave --checkpoint out for the one that is included."
        )
