"""A checkpoint that reads words, voice and face as they are extracted from a video, trained in seconds on random utterances."""

from pathlib import Path

import numpy as np

from multigrain.cli import main
from multigrain.data.store import StoreWriter
from multigrain.schema import FeatureSpec, Task, Utterance
from multigrain.video.acoustic import ACOUSTIC_SPEC
from multigrain.video.facial import FACIAL_SPEC
from tiny_encoder import WORDS, write_tiny_encoder

RECIPE = """
data: {{store: {folder}/talks.store}}
text_encoder: {{name: {folder}/encoder, max_tokens: 32, mode: frozen}}
model: {{name: mult, width: 8, num_heads: 2, num_layers: 1}}
training: {{epochs: 1, batch_utterances: 8, num_threads: 1, accelerator: cpu}}
"""


def train_tiny_checkpoint(folder: Path) -> Path:
    """A run folder."""
    generator = np.random.default_rng(0)
    features = {"text": FeatureSpec(dim=4, extractor="random"), "audio": ACOUSTIC_SPEC, "vision": FACIAL_SPEC}
    with StoreWriter(folder / "talks.store", task=Task(), features=features) as writer:
        for split, count in (("train", 16), ("valid", 4), ("test", 4)):
            for index in range(count):
                words = [str(word) for word in generator.choice(WORDS, size=int(generator.integers(2, 8)))]
                values = {
                    name: generator.normal(size=(len(words) * steps, features[name].dim)).astype(np.float32)
                    for name, steps in (("text", 1), ("audio", 10), ("vision", 3))
                }
                label = float(generator.uniform(-3, 3))
                writer.add(
                    Utterance(id=f"{split}_{index}", split=split, group=f"{split}_{index}", features=values, label=label, text=" ".join(words))
                )
    write_tiny_encoder(folder / "encoder")
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    assert main(["train", str(folder / "recipe.yaml"), "--run-folder", str(folder / "run")]) == 0
    return folder / "run"
