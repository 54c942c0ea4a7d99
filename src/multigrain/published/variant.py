"""Is a recipe the variant that a published row was measured on? Asked of every recipe that says so.

A row names data set, setting and variant; the papers' own words say what else belongs to the model under that name (the loss, whether
scales are weighed by attention, ...). What no paper says (width, heads, a learning-rate schedule) is the recipe's own decision.
"""

from collections.abc import Callable, Mapping
from typing import Any

from multigrain.published.rows import PublishedRow
from multigrain.schema import MODALITIES

MMIN_ENCODER = "bert-base-uncased"
MMIN_LOSSES = ("separation", "adversarial", "private")
_NOT_PLAIN: dict[str, Any] = {"query_key_gain": 1.0}


def differences(row: PublishedRow, recipe: Mapping[str, Any]) -> list[str]:
    """How a recipe differs from a row's variant, each in a phrase; empty where it is that variant.

    Args:
        row: the published row.
        recipe: as `Recipe.to_dict` gives it.
    """
    values = _flat(recipe)
    if values.get("model.name") != row.model:
        return [f"model.name is {values.get('model.name')!r}, and that row's model is {row.model!r}"]
    found = [
        f"{key} is {_in_words(values.get(key))}, and that row has {_in_words(expected)}"
        for key, expected in _required(row).items()
        if values.get(key) != expected
    ]
    return found + _task_differences(row, values) + _input_differences(row, values)


def _flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    sections = {name: section for name, section in recipe.items() if isinstance(section, Mapping)}
    return {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}


def _in_words(value: Any) -> str:
    return "nothing" if value is None else repr(value)


def _required(row: PublishedRow) -> dict[str, Any]:
    """Settings of the model that the row's variant fixes, by dotted name."""
    settings = SETTINGS.get(row.model)
    return {} if settings is None else {f"model.{name}": value for name, value in settings(row).items()}


def _mcmut(row: PublishedRow) -> dict[str, Any]:
    return {
        "interaction": row.interaction,
        "num_blocks": row.num_blocks,
        "layers_per_block": row.layers_per_block,
        "targets": _list(row.targets),
        "source_scales": "all",
        "uses_scale_attention": True,
        "scale_dropout": 0.0,
        "residual": "normalised",
        **_NOT_PLAIN,
    }


def _mult(row: PublishedRow) -> dict[str, Any]:
    return {"num_layers": row.num_layers, "targets": _list(row.targets), "residual": "plain", **_NOT_PLAIN}


def _unimodal(row: PublishedRow) -> dict[str, Any]:
    assert row.modalities is not None
    return {"modality": row.modalities[0]}


def _mmin(row: PublishedRow) -> dict[str, Any]:
    codes = {f"predicts_from_{part}": row.without != part for part in ("coarse", "fine")}
    return {"attention": "sparsemax", "residual": "plain", **codes, **_NOT_PLAIN}


SETTINGS: dict[str, Callable[[PublishedRow], dict[str, Any]]] = {"mcmut": _mcmut, "mult": _mult, "unimodal": _unimodal, "mmin": _mmin}
"""Model -> the settings that its rows fix; a model that is not here (`lf_lstm`) has rows of one variant only."""


def _list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _task_differences(row: PublishedRow, values: Mapping[str, Any]) -> list[str]:
    """The task and its loss: cross-entropy in MCMuT's paper, the squared error in MMIN's, the absolute error where MulT's code has it."""
    losses: tuple[str | None, ...] = ("cross_entropy", None)
    if row.dataset == "IEMOCAP":
        kind = "emotions"
    elif row.model in ("mcmut", "unimodal"):
        kind = "classification"
    else:
        kind, losses = "regression", ("mse",) if row.model == "mmin" else ("l1", None)
    found = []
    if values.get("task.kind") != kind:
        found.append(f"task.kind is {_in_words(values.get('task.kind'))}, and that row was trained as {kind!r}")
    if values.get("training.loss") not in losses:
        found.append(f"training.loss is {_in_words(values.get('training.loss'))}, and that row was trained with {losses[0]!r}")
    return found


def _input_differences(row: PublishedRow, values: Mapping[str, Any]) -> list[str]:
    """Modalities, the language model, and MMIN's losses."""
    found = []
    read = tuple(name for name in MODALITIES if name in (values.get("data.modalities") or MODALITIES))
    wanted = row.modalities or MODALITIES
    if row.model == "unimodal":
        read = tuple(name for name in read if name in wanted)  # it reads one of those that there are
    if read != wanted:
        found.append(f"data.modalities is {', '.join(read)}, and that row was given {', '.join(wanted)}")
    if any(rate for rate in (values.get("training.modality_dropout") or {}).values()):
        found.append("training.modality_dropout takes modalities away, and that row had them all in training")
    encoder = MMIN_ENCODER if row.model == "mmin" and "text" in wanted else None
    if values.get("text_encoder.name") != encoder or values.get("text_encoder.mode", "fine_tuned") != "fine_tuned":
        given = f"{values.get('text_encoder.name')} ({values.get('text_encoder.mode')})" if "text_encoder.name" in values else "absent"
        found.append(f"text_encoder is {given}, and that row {f'fine-tuned {encoder}' if encoder else 'read no language model'}")
    for name in MMIN_LOSSES if row.model == "mmin" else ():
        weight = float(values.get(f"model.{name}_weight") or 0.0)
        if (weight > 0.0) == (row.without == name):
            found.append(f"model.{name}_weight is {weight:g}, and that row was trained {'without' if weight > 0.0 else 'with'} that loss")
    return found
