from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from multigrain.data.store import Split, Store, StoreWriter
from multigrain.evaluation.missing_frames import MissingFrames, keep_steps
from multigrain.schema import Batch, FeatureSpec, ModalitySequence, Task, Utterance


def sequence_of(lengths: list[int], readout: list[int] | None = None) -> ModalitySequence:
    """Step t of row r holds 10 r + t; padding holds NaN."""
    features = torch.full((len(lengths), max(lengths), 1), float("nan"))
    for row, length in enumerate(lengths):
        features[row, :length, 0] = 10 * row + torch.arange(length)
    return ModalitySequence.from_lengths(features, torch.tensor(lengths), None if readout is None else torch.tensor(readout))


def steps(sequence: ModalitySequence) -> list[list[float]]:
    return [row[mask].squeeze(1).tolist() for row, mask in zip(sequence.features, sequence.mask, strict=True)]


def test_kept_steps_move_together_in_their_order() -> None:
    before = sequence_of([5, 2, 3])
    after = keep_steps(before, torch.tensor([[1, 0, 1, 0, 1], [0, 1, 1, 1, 1], [0, 0, 0, 1, 1]], dtype=torch.bool))
    assert steps(after) == [[0, 2, 4], [11], []]
    assert after.mask.shape == (3, 3)
    assert after.readout.tolist() == [2, 0, 0]
    assert after.is_present.tolist() == [True, True, False]
    assert steps(before) == [[0, 1, 2, 3, 4], [10, 11], [20, 21, 22]]


def test_with_every_step_kept_nothing_changes() -> None:
    before = sequence_of([5, 2], readout=[1, 0])
    after = keep_steps(before, torch.ones(2, 5, dtype=torch.bool))
    for name in ("features", "mask", "readout"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("kept", "expected"),
    [([1, 1, 1, 1], 2.0), ([0, 1, 1, 1], 2.0), ([1, 1, 0, 1], 1.0), ([1, 0, 0, 1], 0.0), ([0, 0, 0, 1], 3.0)],
)
def test_the_step_that_stands_for_the_utterance_stays_or_the_nearest_before_or_after_does(kept: list[int], expected: float) -> None:
    after = keep_steps(sequence_of([4], readout=[2]), torch.tensor([kept], dtype=torch.bool))
    assert after.features[0, after.readout[0], 0] == expected


def kept_steps(frames: MissingFrames, split: Split, rates: dict[str, float], indices: list[int]) -> list[dict[str, list[tuple[float, ...]]]]:
    """Per utterance and modality, the steps that are left."""
    batch = frames.remove(split.batch(indices), indices, rates)
    return [
        {name: [tuple(step) for step in sequence.features[row][sequence.mask[row]].tolist()] for name, sequence in batch.modalities.items()}
        for row in range(len(indices))
    ]


def test_the_choice_is_the_same_in_any_batch_and_grows_with_the_rate(make_store: Callable[..., Store]) -> None:
    split = make_store(counts={"train": 2, "valid": 2, "test": 40}).split("test")
    frames = MissingFrames(split, split.modalities)
    everyone = list(range(len(split)))
    half = kept_steps(frames, split, {"audio": 0.5}, everyone)
    backwards = [kept_steps(MissingFrames(split, split.modalities), split, {"audio": 0.5}, [index])[0] for index in reversed(everyone)]
    assert half == backwards[::-1]
    most = kept_steps(frames, split, {"audio": 0.9, "text": 0.9}, everyone)
    for index in everyone:
        assert set(most[index]["audio"]) <= set(half[index]["audio"])
        assert len(half[index]["text"]) == split.lengths("text")[index]
    assert half != kept_steps(MissingFrames(split, split.modalities, seed=1), split, {"audio": 0.5}, everyone)


def test_the_share_that_is_missing_is_the_rate(make_store: Callable[..., Store]) -> None:
    split = make_store(counts={"train": 2, "valid": 2, "test": 300}).split("test")
    for rate in (0.1, 0.5, 0.9):
        left = kept_steps(MissingFrames(split, split.modalities), split, dict.fromkeys(split.modalities, rate), list(range(300)))
        for name in split.modalities:
            assert sum(len(utterance[name]) for utterance in left) / split.lengths(name).sum() == pytest.approx(1 - rate, abs=0.03)


def test_modalities_miss_frames_independently_unless_the_model_needs_alignment(make_store: Callable[..., Store], tmp_path: Path) -> None:
    features = {name: FeatureSpec(dim=1) for name in ("text", "audio")}
    with StoreWriter(tmp_path / "aligned.store", task=Task(), features=features) as writer:
        for number in range(6):
            arrays = {name: np.arange(20, dtype=np.float32)[:, None] for name in (features if number < 5 else ("audio",))}
            writer.add(Utterance(id=str(number), split="test", group=str(number), features=arrays, label=0.5))
    split = Store.open(tmp_path / "aligned.store").split("test")
    rates = {"text": 0.5, "audio": 0.5}
    together = kept_steps(MissingFrames(split, ("text", "audio"), is_aligned=True), split, rates, list(range(6)))
    assert all(utterance["text"] == utterance["audio"] for utterance in together[:5])
    assert together[5]["text"] == []
    assert 0 < len(together[5]["audio"]) < 20
    apart = kept_steps(MissingFrames(split, ("text", "audio")), split, rates, list(range(6)))
    assert all(utterance["text"] != utterance["audio"] for utterance in apart)


def test_utterances_in_one_context_miss_the_same_frames(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "context.store", task=Task(), features={"text": FeatureSpec(dim=1)}) as writer:
        array = np.arange(30, dtype=np.float32)[:, None]
        for number in (3, 17, 29):
            writer.add(Utterance(id=str(number), split="test", group="v", features={"text": array}, label=0.5, context_key="v", readout=number))
    split = Store.open(tmp_path / "context.store").split("test")
    frames = MissingFrames(split, ("text",))
    left = kept_steps(frames, split, {"text": 0.5}, [0, 1, 2])
    assert left[0] == left[1] == left[2]
    batch = frames.remove(split.batch([0, 1, 2]), [0, 1, 2], {"text": 0.5})
    for row, own in enumerate((3, 17, 29)):
        before = [step for (step,) in left[row]["text"] if step <= own]
        assert batch.text.features[row, batch.text.readout[row], 0] == max(before)


def test_without_rates_the_batch_is_untouched(make_store: Callable[..., Store]) -> None:
    split = make_store().split("test")
    batch = split.batch([0, 1])
    assert MissingFrames(split, split.modalities).remove(batch, [0, 1], {}) is batch


def test_a_modality_that_no_utterance_has_stays_absent(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "a.store", task=Task(), features={"text": FeatureSpec(dim=1), "audio": FeatureSpec(dim=1)}) as writer:
        writer.add(Utterance(id="a", split="test", group="a", features={"text": np.ones((3, 1), np.float32)}, label=0.5))
    split = Store.open(tmp_path / "a.store").split("test")
    batch: Batch = MissingFrames(split, split.modalities).remove(split.batch([0]), [0], {"audio": 0.5, "text": 0.0})
    assert batch.audio.is_present.tolist() == [False]
    assert batch.text.lengths.tolist() == [3]
