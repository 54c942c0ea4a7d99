"""Small models and stores for the tests of explanations; weights are random, so that nothing is explained by chance being small."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
from small_runs import write_store

from multigrain.data.store import Store
from multigrain.language.reader import TextReader
from multigrain.language.settings import TextEncoderSettings
from multigrain.models import build_model
from multigrain.models.base import MultimodalModel
from multigrain.schema import FeatureSpec, Task

SMALL = {"width": 8, "num_heads": 2, "num_blocks": 2, "layers_per_block": 2, "num_layers": 2, "num_summary_layers": 1}


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(write_store(tmp_path_factory.mktemp("analysis") / "planted.store"))


@pytest.fixture(scope="session")
def reader(tiny_encoder: Path) -> TextReader:
    return TextReader.from_settings(TextEncoderSettings(name=str(tiny_encoder), max_tokens=24))


@pytest.fixture
def small_model() -> Callable[..., MultimodalModel]:
    """Builds a model at a small size: its name, the features, and by name the task and the text's reader."""
    from dataclasses import fields

    from multigrain.models import MODELS

    def build(name: str, features: dict[str, FeatureSpec], *, task: Task | None = None, text_reader: TextReader | None = None) -> MultimodalModel:
        known = {field.name for field in fields(MODELS[name].config_class)}
        torch.manual_seed(0)
        config = {key: value for key, value in SMALL.items() if key in known}
        model = build_model(name, config, task or Task(), features, text_reader=text_reader)
        for parameter in model.parameters():  # fresh output layers are near 0, where nothing matters
            parameter.data = parameter.data + 0.05 * torch.randn_like(parameter)
        return model.eval()

    return build
