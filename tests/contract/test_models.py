"""What every model in MODELS must keep; a new model is covered by its line in the registry.

A model that cannot meet one of these names it in `unmet_contracts` with the reason, and is skipped with that reason. Each model comes
twice: with text vectors, and as "NAME over a language model", where a tiny language model reads transcripts and is trained along.
"""

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from multigrain.data.language_store import has_transcripts, read_text_with
from multigrain.data.store import Store, StoreWriter
from multigrain.errors import CheckpointError
from multigrain.evaluation.evaluate import score
from multigrain.evaluation.missing_frames import MissingFrames, keep_steps, keep_tokens
from multigrain.evaluation.predict import predict_split
from multigrain.evaluation.robustness import Condition, apply_condition, measure_robustness
from multigrain.language.reader import TextReader
from multigrain.language.settings import TextEncoderSettings
from multigrain.layers.native.library import without_native_kernels
from multigrain.models import MODELS, build_model, load
from multigrain.models.base import MultimodalModel
from multigrain.schema import Batch, FeatureSpec, ModalitySequence, Task, TokenSequence
from multigrain.training.modality_dropout import lose
from tiny_encoder import WORDS, write_tiny_encoder

FEATURES = {"text": FeatureSpec(dim=6), "audio": FeatureSpec(dim=4), "vision": FeatureSpec(dim=5)}
LENGTHS = {"text": [5, 1, 3, 4], "audio": [7, 2, 9, 1], "vision": [8, 11, 3, 6]}
SMALL = {"width": 8, "num_heads": 2, "num_blocks": 2, "layers_per_block": 2, "num_layers": 2, "num_summary_layers": 1}
TASKS = {"regression": Task(), "classification": Task(kind="classification"), "emotions": Task(kind="emotions")}

OVER = " over a language model"
READERS: dict[str, TextReader] = {}
"""The tiny language models, with and without dropout, once the first test has made them."""

pytestmark = [
    pytest.mark.parametrize("name", [*sorted(MODELS), *(f"{name}{OVER}" for name in sorted(MODELS))]),
    pytest.mark.usefixtures("tiny_readers"),
]


@pytest.fixture(scope="module")
def tiny_readers(tmp_path_factory: pytest.TempPathFactory) -> None:
    for kind, dropout in (("plain", 0.0), ("dropout", 0.3)):
        folder = write_tiny_encoder(tmp_path_factory.mktemp(kind) / "tiny", dropout=dropout)
        READERS[kind] = TextReader.from_settings(TextEncoderSettings(name=str(folder), max_tokens=24))


def class_of(name: str) -> type[MultimodalModel]:
    return MODELS[name.removesuffix(OVER)]


def features_of(name: str, *, dropout: bool = False) -> dict[str, FeatureSpec]:
    return {**FEATURES, "text": READERS["dropout" if dropout else "plain"].spec} if name.endswith(OVER) else FEATURES


def opened(name: str, store: Store) -> Store:
    """The store as the model reads it."""
    return read_text_with(store, READERS["plain"]) if name.endswith(OVER) and has_transcripts(store) else store


def small_model(name: str, task: Task | None = None, *, dropout: bool = False, seed: int = 0) -> MultimodalModel:
    """The model at a small size, without dropout unless asked for."""
    known = [field.name for field in fields(class_of(name).config_class)]
    config = {key: value for key, value in SMALL.items() if key in known}
    if not dropout:
        config |= {key: 0.0 for key in known if key.endswith(("dropout", "dropout_text", "dropout_audio", "dropout_vision"))}
    torch.manual_seed(seed)
    reader = READERS["dropout" if dropout else "plain"] if name.endswith(OVER) else None
    return build_model(name.removesuffix(OVER), config, task or Task(), features_of(name, dropout=dropout), text_reader=reader)


def random_batch(name: str, size: int = 4, seed: int = 0, task: Task | None = None, *, times: int | None = None) -> Batch:
    """Random utterances of unequal lengths (the same content whatever `times`, the padded length), as the model reads them."""
    generator = np.random.default_rng(seed)
    lengths = {key: (values * size)[:size] for key, values in LENGTHS.items()}
    arrays = {}
    for key, spec in FEATURES.items():
        padded = np.zeros((size, times or max(lengths[key]), spec.dim), np.float32)
        for row, length in enumerate(lengths[key]):
            padded[row, :length] = generator.normal(size=(length, spec.dim))
        arrays[key] = padded
    columns = (task or Task()).label_dim
    label = generator.integers(0, 2, (size, columns)) if columns > 1 else generator.uniform(-3, 3, (size, 1))
    batch = Batch.from_arrays(**arrays, lengths=lengths, label=label)
    if not name.endswith(OVER):
        return batch
    table = READERS["plain"].pieces.split([generator.choice(WORDS, size=length).tolist() for length in lengths["text"]])
    sequence, tokens = table.sequence(np.arange(size)), table.tokens(np.arange(size))
    more = max(0, (times or 0) - tokens.ids.shape[1])
    padded = [functional.pad(value, (0, more), value=fill) for value, fill in ((tokens.ids, 3), (tokens.mask, False), (tokens.word, -1))]
    text = ModalitySequence(functional.pad(sequence.features, (0, 0, 0, more)), padded[1], sequence.readout)
    return replace(batch, text=text, tokens=TokenSequence(*padded))


def predict(model: MultimodalModel, batch: Batch) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(batch).prediction


def rows(batch: Batch, chosen: list[int]) -> Batch:
    picked = {
        name: ModalitySequence(sequence.features[chosen], sequence.mask[chosen], sequence.readout[chosen])
        for name, sequence in batch.modalities.items()
    }
    tokens = None if batch.tokens is None else TokenSequence(*(value[chosen] for value in (batch.tokens.ids, batch.tokens.mask, batch.tokens.word)))
    return Batch(**picked, ids=tuple(batch.ids[row] for row in chosen), tokens=tokens)


def rows_of_tokens(tokens: TokenSequence, row: int, chosen: torch.Tensor) -> TokenSequence:
    return TokenSequence(*(value[row][chosen][None] for value in (tokens.ids, tokens.mask, tokens.word)))


def require_contract(name: str, contract: str) -> None:
    if contract in class_of(name).unmet_contracts:
        pytest.skip(f"{name}: {class_of(name).unmet_contracts[contract]}")


def test_content_of_padding_never_changes_a_prediction(name: str) -> None:
    require_contract(name, "padding")
    model, batch = small_model(name), random_batch(name)
    expected = predict(model, batch)
    for sequence in batch.modalities.values():
        sequence.features[~sequence.mask] = float("nan")
    if batch.tokens is not None:
        batch.tokens.ids[~batch.tokens.mask] = 17
    torch.testing.assert_close(predict(model, batch), expected, rtol=0, atol=0)


def test_length_of_padding_never_changes_a_prediction(name: str) -> None:
    require_contract(name, "padding")
    model = small_model(name)
    torch.testing.assert_close(predict(model, random_batch(name, times=23)), predict(model, random_batch(name)), rtol=0, atol=2e-6)


def test_order_and_company_in_a_batch_never_change_a_prediction(name: str) -> None:
    require_contract(name, "composition")
    model, batch = small_model(name), random_batch(name)
    expected = predict(model, batch)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(predict(model, rows(batch, order)), expected[order], rtol=0, atol=2e-6)
    for row in range(4):
        torch.testing.assert_close(predict(model, rows(batch, [row])), expected[[row]], rtol=0, atol=2e-6)


def test_compiled_layers_change_no_prediction_and_no_gradient(name: str) -> None:
    """Also where a modality is absent: the compiled path leaves padded and absent steps out, the plain one masks them."""
    model, batch = small_model(name), random_batch(name)
    batch = replace(batch, audio=replace_mask(batch.audio, row=2), vision=replace_mask(batch.vision, row=1))

    def results() -> list[torch.Tensor]:
        model.zero_grad()
        output = model.train()(batch)
        (output.prediction * torch.arange(1.0, 5.0)[:, None]).sum().add(sum(output.losses.values())).backward()
        return [output.prediction.detach(), *(torch.zeros(1) if part.grad is None else part.grad.clone() for part in model.parameters())]

    compiled = results()
    with without_native_kernels():
        plain = results()
    for ours, theirs in zip(compiled, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * max(1.0, float(theirs.abs().max())))


def replace_mask(sequence: ModalitySequence | None, row: int) -> ModalitySequence:
    """The sequence without one utterance's steps."""
    assert sequence is not None
    mask = sequence.mask.clone()
    mask[row] = False
    return replace(sequence, mask=mask)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_parameter_gets_a_gradient(name: str, task: str) -> None:
    model, batch = small_model(name, TASKS[task]), random_batch(name, task=TASKS[task])
    output = model(batch)
    assert output.prediction.shape == (4, TASKS[task].head_dim)
    (output.prediction.square().sum() + sum(output.losses.values())).backward()
    for parameter, value in model.named_parameters():
        assert value.grad is not None, parameter
        assert bool(torch.isfinite(value.grad).all()), parameter
        assert value.ndim < 2 or bool((value.grad != 0).any()), parameter


def test_overfits_eight_utterances(name: str) -> None:
    require_contract(name, "overfit")
    if name.endswith(OVER) and name != f"mmin{OVER}":
        pytest.skip("the model's own part is the same as with vectors; mmin has a text branch for language models")
    model, batch = small_model(name, seed=1), random_batch(name, 8, seed=1)
    optimizer = torch.optim.Adam(model.parameter_groups(0.02))
    first = None
    for _ in range(60):
        output = model(batch)
        loss = (output.prediction - batch.label).square().mean() + sum(output.losses.values())
        first = first if first is not None else loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * first


def test_saving_and_loading_gives_equal_predictions(name: str, tmp_path) -> None:
    model, batch = small_model(name, dropout=True), random_batch(name)
    expected = predict(model, batch)
    model.save_pretrained(tmp_path / "checkpoint")
    own = {"text_encoder"} if name.endswith(OVER) else set()
    assert {path.name for path in (tmp_path / "checkpoint").iterdir()} == {"config.json", "model.safetensors", "README.md", *own}
    assert "More Information Needed" not in (tmp_path / "checkpoint" / "README.md").read_text()
    loaded = load(str(tmp_path / "checkpoint"))
    assert type(loaded) is type(model)
    assert not loaded.training
    assert loaded.config == model.config
    torch.testing.assert_close(predict(loaded, batch), expected, rtol=0, atol=0)


@pytest.mark.parametrize("modality", sorted(FEATURES))
def test_absent_modality_gives_a_finite_answer(name: str, modality: str) -> None:
    model, batch = small_model(name), random_batch(name)
    missing = predict(model, batch.with_modalities({modality: None}))
    assert bool(torch.isfinite(missing).all())
    sequence = getattr(batch, modality)
    masked = ModalitySequence(sequence.features, sequence.mask.clone(), sequence.readout.clone())
    masked.mask[1], masked.readout[1] = False, 0
    partly = predict(model, batch.with_modalities({modality: masked}))
    torch.testing.assert_close(partly[1], missing[1], rtol=0, atol=2e-6)
    output = model.train()(batch.with_modalities({modality: masked}))
    output.prediction.sum().backward()
    assert all(bool(torch.isfinite(value.grad).all()) for value in model.parameters() if value.grad is not None)


def test_a_context_that_utterances_share_is_the_same_as_one_for_each(name: str) -> None:
    """In a video's context its sequence is computed once for all of its utterances, where the model can; others are given it as often."""
    model, batch = small_model(name), random_batch(name)
    if batch.tokens is not None:
        pytest.skip(f"{name} is tested on transcripts, which have no context")
    which, generator = torch.tensor([2, 0, 0, 3, 2, 1, 2]), np.random.default_rng(3)
    sequences = {}
    for modality, sequence in batch.modalities.items():
        steps = torch.from_numpy(generator.integers(0, sequence.lengths[which].clamp(min=1).numpy()))
        sequences[modality] = ModalitySequence(sequence.features, sequence.mask, steps, which)
    shared = Batch(**sequences, ids=tuple("abcdefg"))
    assert shared.size == 7
    for given in (shared, shared.with_modalities({next(iter(sequences)): None})):
        torch.testing.assert_close(predict(model, given), predict(model, given.unshared()), rtol=0, atol=2e-6)
    gradients = []
    for given in (shared, shared.unshared()):
        model.zero_grad()
        model(given).prediction.square().sum().backward()
        gradients.append([value.grad.clone() for value in model.parameters() if value.grad is not None])
    for together, apart in zip(*gradients, strict=True):
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)


def test_nothing_but_padding_gives_a_finite_answer(name: str) -> None:
    model, batch = small_model(name), random_batch(name)
    for sequence in batch.modalities.values():
        sequence.mask[:] = False
        sequence.readout[:] = 0
    assert bool(torch.isfinite(predict(model, batch)).all())


def test_a_modality_lost_in_training_is_one_that_was_never_there(name: str) -> None:
    model, batch = small_model(name), random_batch(name)
    lost = {"text": [False, True, False, True], "audio": [True, False, False, True], "vision": [False, True, False, False]}
    altered = lose(batch, {modality: np.array(value) for modality, value in lost.items()})
    for modality, value in lost.items():
        getattr(altered, modality).features[value] = float("nan")
    together = predict(model, altered)
    for row in range(4):
        without = {modality: None for modality, value in lost.items() if value[row]}
        alone = predict(model, rows(random_batch(name), [row]).with_modalities(without))
        torch.testing.assert_close(together[[row]], alone, rtol=0, atol=2e-6)


@pytest.mark.parametrize("modality", sorted(FEATURES))
def test_parameters_of_a_lost_modality_stay_in_the_graph(name: str, modality: str) -> None:
    """Processes that train together wait for each other's gradient of every parameter."""
    model, batch = small_model(name), random_batch(name)
    output = model(lose(batch, {modality: np.ones(4, bool)}))
    (output.prediction.square().sum() + sum(output.losses.values())).backward()
    for parameter, value in model.named_parameters():
        assert value.grad is not None, parameter
        assert bool(torch.isfinite(value.grad).all()), parameter


def test_an_utterance_with_nothing_left_harms_no_other(name: str) -> None:
    model, batch = small_model(name), random_batch(name)
    expected = predict(model, batch)
    altered = lose(batch, dict.fromkeys(FEATURES, np.array([False, False, True, False])))
    found = predict(model, altered)
    torch.testing.assert_close(found[[0, 1, 3]], expected[[0, 1, 3]], rtol=0, atol=2e-6)
    assert bool(torch.isfinite(found).all())
    output = model.train()(altered)
    (output.prediction.sum() + sum(output.losses.values())).backward()
    assert all(bool(torch.isfinite(value.grad).all()) for value in model.parameters() if value.grad is not None)


def test_missing_frames_leave_the_utterance_as_if_it_had_been_recorded_without_them(name: str) -> None:
    model, batch = small_model(name), random_batch(name)
    generator = np.random.default_rng(5)
    kept = {key: torch.from_numpy(generator.random(sequence.mask.shape) < 0.5) for key, sequence in batch.modalities.items()}
    left = batch.with_modalities({key: keep_steps(sequence, kept[key]) for key, sequence in batch.modalities.items()})
    together = predict(model, left if batch.tokens is None else replace(left, tokens=keep_tokens(batch.tokens, kept["text"])))
    for row in range(4):
        shorter = {key: sequence.features[row][kept[key][row] & sequence.mask[row]][None] for key, sequence in batch.modalities.items()}
        single = Batch.from_arrays(**{key: value for key, value in shorter.items() if value.shape[1]})
        if batch.tokens is not None and single.text is not None:
            chosen = kept["text"][row] & batch.tokens.mask[row]
            single = replace(single, tokens=rows_of_tokens(batch.tokens, row, chosen))
            single.text.readout[:] = left.text.readout[row]
        alone = predict(model, single)
        torch.testing.assert_close(together[[row]], alone, rtol=0, atol=2e-6)


def store_without(store: Store, left_out: tuple[str, ...], path: Path) -> Store:
    """The store's content but for some modalities."""
    features = {key: spec for key, spec in store.features.items() if key not in left_out}
    with StoreWriter(path, task=store.task, features=features) as writer:
        for split in store.splits.values():
            for index in range(len(split)):
                utterance = split.utterance(index)
                utterance.features = {key: value for key, value in utterance.features.items() if key in features}
                utterance.text = None if "text" in left_out else utterance.text
                writer.add(utterance)
    return Store.open(path)


def test_evaluating_a_subset_is_evaluating_a_store_that_lacks_the_rest(name: str, make_store: Callable[..., Store], tmp_path: Path) -> None:
    model, store = small_model(name), make_store()
    split = opened(name, store).split("test")
    measured = {result.condition.modalities: result.metrics for result in measure_robustness(model, split, rates=()).subsets}
    read = tuple(model.features)
    assert len(measured) == 2 ** len(read) - 1
    for size in range(1, len(read) + 1):
        for subset in combinations(read, size):
            lacking = store_without(store, tuple(key for key in FEATURES if key not in subset), tmp_path / f"{'-'.join(subset)}.store")
            expected = predict_split(model, opened(name, lacking).split("test"))
            frames, condition = MissingFrames(split, read), Condition(modalities=subset)
            altered = predict_split(
                model, split, alter=lambda batch, indices, frames=frames, condition=condition: apply_condition(batch, indices, condition, frames)
            )
            np.testing.assert_allclose(altered.scores, expected.scores, rtol=0, atol=2e-6)
            assert measured[subset] == pytest.approx(score(model.task, expected, "test", "default"), abs=1e-5)


def test_no_missing_frame_is_the_plain_evaluation_and_all_missing_is_absence(name: str, make_store: Callable[..., Store]) -> None:
    model, split = small_model(name), opened(name, make_store()).split("test")
    plain = score(model.task, predict_split(model, split), "test", "default")
    measured = measure_robustness(model, split, rates=(0.0, 0.4, 1.0))
    assert measured.complete.metrics == plain
    subsets = {result.condition.modalities: result for result in measured.subsets}
    for result in measured.missing_frames:
        affected, rate = result.condition.frames_missing_in, result.condition.missing_rate
        left = tuple(key for key in measured.modalities if key not in affected)
        if rate == 0.0:
            assert result.metrics == plain
        elif rate == 0.4:
            assert result.metrics != plain
        elif left:
            assert result.metrics == pytest.approx(subsets[left].metrics, abs=1e-5)
        else:
            assert (result.utterances_without_input, result.is_constant) == (len(split), True)


def test_same_seed_gives_the_same_run(name: str) -> None:
    def run() -> torch.Tensor:
        model = small_model(name, dropout=True, seed=3).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for step in range(3):
            loss = model(random_batch(name, seed=step)).prediction.square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return predict(model, random_batch(name, seed=9))

    torch.testing.assert_close(run(), run(), rtol=0, atol=0)


def test_runs_under_bfloat16_autocast(name: str) -> None:
    model, batch = small_model(name), random_batch(name)
    exact = predict(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
        output.prediction.float().sum().backward()
    assert bool(torch.isfinite(output.prediction).all())
    torch.testing.assert_close(output.prediction.detach().float(), exact, rtol=0.1, atol=0.1)


def test_readout_chooses_the_utterance_within_its_context(name: str) -> None:
    require_contract(name, "readout")
    model, batch = small_model(name), random_batch(name)
    at_end = predict(model, batch)
    sequences = {
        key: ModalitySequence(sequence.features, sequence.mask, sequence.lengths - 1 - sequence.readout) for key, sequence in batch.modalities.items()
    }
    at_other_end = predict(model, batch.with_modalities(sequences))
    assert not torch.allclose(at_other_end[0], at_end[0], atol=1e-4)


def test_attention_rows_sum_to_one_over_real_steps_and_looking_changes_nothing(name: str) -> None:
    model, batch = small_model(name).eval(), random_batch(name)
    with torch.no_grad():
        looked = model(batch, with_attention=True)
    torch.testing.assert_close(looked.prediction, predict(model, batch), rtol=0, atol=2e-6)
    for direction, layers in looked.attention.items():
        source, _, target = direction.partition("_to_")
        for weights in layers:
            mask = batch.modalities[source].mask
            assert weights.shape[0] == 4
            assert weights.shape[-2:] == (batch.modalities[target].mask.shape[1], mask.shape[1])
            assert weights.ndim == 5
            torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
            assert bool((weights.masked_select(~mask[:, None, None, None, :]) == 0).all())


def test_predict_gives_scores_in_the_labels_units_and_keeps_the_mode(name: str) -> None:
    for task in TASKS.values():
        model = small_model(name, task).train()
        scores = model.predict(random_batch(name))
        assert scores.shape == (4, task.label_dim)
        assert model.training
        if task.kind == "classification":
            assert bool((scores.abs() <= 3).all())
        if task.kind == "emotions":
            assert bool(((scores >= 0) & (scores <= 1)).all())


def test_features_of_another_width_are_refused(name: str) -> None:
    model = small_model(name)
    batch = Batch.from_arrays(text=np.zeros((2, 3, 9)), audio=np.zeros((2, 3, 9)), vision=np.zeros((2, 3, 9)))
    with pytest.raises(CheckpointError, match=r"has 9 features a step, but this .* model (was built for|reads transcripts)"):
        model(batch)


def test_normalisation_is_part_of_the_checkpoint(name: str, tmp_path) -> None:
    specs = {key: replace(spec, mean=(2.0,) * spec.dim, std=(0.5,) * spec.dim) for key, spec in features_of(name).items()}
    plain, batch = small_model(name), random_batch(name)
    config, reader = asdict(plain.config), READERS["plain"] if name.endswith(OVER) else None
    normalising = build_model(name.removesuffix(OVER), config, Task(), specs, normalise=True, text_reader=reader)
    normalising.load_state_dict({**normalising.state_dict(), **{k: v for k, v in plain.state_dict().items() if "normalisers" not in k}})
    shifted = batch.with_modalities(
        {key: ModalitySequence(sequence.features * 0.5 + 2.0, sequence.mask, sequence.readout) for key, sequence in batch.modalities.items()}
    )
    torch.testing.assert_close(predict(normalising, shifted), predict(plain, batch), rtol=0, atol=1e-5)
    normalising.save_pretrained(tmp_path / "checkpoint")
    torch.testing.assert_close(predict(load(str(tmp_path / "checkpoint")), shifted), predict(normalising, shifted), rtol=0, atol=0)


def test_declares_where_it_comes_from(name: str) -> None:
    chosen = class_of(name)
    assert chosen.name == name.removesuffix(OVER)
    assert chosen.paper.title
    assert chosen.paper.year > 1990
    assert chosen.paper.url.startswith("https://")
    assert chosen.config_class().__dataclass_params__.frozen
