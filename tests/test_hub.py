"""Encoders and checkpoints from the hub: what is fetched, what is done without an answer, and what was fetched before."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import multigrain
from local_hub import answering_hub, silent_hub
from multigrain import hub
from multigrain.errors import CheckpointError, HubError
from multigrain.evaluation.conformal import Conformal
from multigrain.models import build_model
from multigrain.models.base import MultimodalModel
from multigrain.models.checkpoint import fetch_checkpoint
from multigrain.schema import FeatureSpec, Task

PAPER = "owner/checkpoint"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Sets the hub's address; the local cache is empty."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def set_address(address: str) -> None:
        for name, value in {"ENDPOINT": address, "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}"}.items():
            monkeypatch.setattr(constants, name, value)

    return set_address


@pytest.fixture
def checkpoint(tmp_path: Path) -> dict[str, bytes]:
    """The files of a repository: a checkpoint with intervals, and others beside it."""
    torch.manual_seed(0)
    folder = tmp_path / "checkpoint"
    build_model("pooled", {}, Task(), {"text": FeatureSpec(dim=4, extractor="random")}).save_pretrained(folder)
    widths = {"text": {0.9: 1.25}}
    Conformal(half_widths=widths, num_utterances={"text": 40}, num_groups={"text": 8}, minimum=-3.0, maximum=3.0, calibrated_on="valid").write(folder)
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_checkpoint_comes_with_its_intervals_and_its_card_and_nothing_else(at: Callable[[str], None], checkpoint: dict[str, bytes]) -> None:
    with answering_hub(PAPER, checkpoint) as (address, fetched):
        at(address)
        model = multigrain.load(PAPER)
        conformal = Conformal.read(fetch_checkpoint(PAPER, {}))
    assert isinstance(model, MultimodalModel)
    assert conformal is not None
    assert conformal.half_widths == {"text": {0.9: 1.25}}
    assert sorted(fetched) == ["README.md", "config.json", "conformal.json", "model.safetensors"]


def test_what_the_hub_has_not_is_said_with_what_to_do(at: Callable[[str], None], checkpoint: dict[str, bytes]) -> None:
    with answering_hub(PAPER, checkpoint) as (address, _):
        at(address)
        with pytest.raises(CheckpointError, match=r"There is no folder owner/other, .*RepositoryNotFoundError.*hf download owner/other"):
            multigrain.load("owner/other")


def test_a_hub_that_never_answers_is_given_up_in_seconds(at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "REACH_SECONDS", 0.6)
    with silent_hub() as address:
        at(address)
        before = time.monotonic()
        with pytest.raises(CheckpointError, match=r"could not be fetched \((ReadTimeout|TimeoutError): .*Without one, download") as caught:
            multigrain.load(PAPER)
    assert time.monotonic() - before < 5
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_was_fetched_before_is_used_where_the_hub_is_silent(
    at: Callable[[str], None], checkpoint: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "REACH_SECONDS", 0.6)
    with answering_hub(PAPER, checkpoint) as (address, _):
        at(address)
        first = fetch_checkpoint(PAPER, {})
    with silent_hub() as address:
        at(address)
        assert fetch_checkpoint(PAPER, {}) == first
        assert fetch_checkpoint(PAPER, {"local_files_only": True}) == first
        with pytest.raises(CheckpointError, match="could not be fetched"):
            fetch_checkpoint(PAPER, {"force_download": True})
        monkeypatch.setattr(hub, "_within", lambda *_: pytest.fail("asked the hub"))
        assert hub.fetch_from_hub(PAPER, ["config.json"], lambda folder: (folder / "config.json").is_file(), prefers_cache=True) == first
        with pytest.raises(HubError, match="LocalEntryNotFoundError"):
            fetch_nothing_but_local()


def fetch_nothing_but_local() -> Path:
    return hub.fetch_from_hub("owner/never-fetched", ["*"], lambda folder: True, prefers_cache=False, local_files_only=True)


def test_a_question_that_hangs_is_given_up() -> None:
    before = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.1 seconds"):
        hub._within(0.1, lambda: time.sleep(3))
    assert time.monotonic() - before < 2
