"""A checkpoint that reads words, voice and face as they are extracted from a video; of random weights, since nothing here asks how good it is."""

from pathlib import Path

import torch

from multigrain.language.reader import TextReader
from multigrain.language.settings import TextEncoderSettings
from multigrain.models import build_model
from multigrain.schema import Task
from multigrain.video.acoustic import ACOUSTIC_SPEC
from multigrain.video.facial import FACIAL_SPEC
from tiny_encoder import write_tiny_encoder


def save_tiny_checkpoint(folder: Path) -> Path:
    """The checkpoint's folder."""
    reader = TextReader.from_settings(TextEncoderSettings(name=str(write_tiny_encoder(folder / "encoder")), max_tokens=32, mode="frozen"))
    features = {"text": reader.spec, "audio": ACOUSTIC_SPEC, "vision": FACIAL_SPEC}
    torch.manual_seed(0)
    model = build_model("mult", {"width": 8, "num_heads": 2, "num_layers": 1}, Task(), features, text_reader=reader)
    model.save_pretrained(folder / "checkpoint")
    return folder / "checkpoint"
