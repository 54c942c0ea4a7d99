"""Checks that several models' configs share; each failure is a paragraph for whoever wrote the recipe."""

from collections.abc import Callable, Mapping, Sequence

from multigrain.errors import RecipeError
from multigrain.schema import MODALITIES, FeatureSpec


def require(condition: bool, model: str, setting: str, value: object, expected: str) -> None:
    """Raises RecipeError unless `condition` holds."""
    if not condition:
        raise RecipeError(f"The model {model} has {setting} = {value!r}; expected {expected}. Change model.{setting} in the recipe.")


def require_per_modality(model: str, setting: str, value: int | Mapping[str, int], is_right: Callable[[int], bool], expected: str) -> None:
    """Raises RecipeError unless a number, or each of the numbers for modalities, is right."""
    if isinstance(value, Mapping):
        known = bool(value) and set(value) <= set(MODALITIES)
        require(known, model, setting, value, f"a number, or numbers for some of {list(MODALITIES)}")
    numbers = value.values() if isinstance(value, Mapping) else (value,)
    require(all(is_right(number) for number in numbers), model, setting, value, f"{expected}{' everywhere' if isinstance(value, Mapping) else ''}")


def number_for(model: str, setting: str, value: int | Mapping[str, int], modality: str) -> int:
    """The number of a setting that may have one per modality.

    Raises:
        RecipeError: it has numbers for other modalities only.
    """
    if not isinstance(value, Mapping):
        return value
    require(modality in value, model, setting, dict(value), f"a number for {modality} too")
    return value[modality]


def require_heads(model: str, width: int, num_heads: int) -> None:
    """Raises RecipeError unless `width` is a positive multiple of `num_heads`."""
    require(width >= 2, model, "width", width, "at least 2")
    require(num_heads >= 1 and width % num_heads == 0, model, "num_heads", num_heads, f"a number that divides width ({width})")


def require_rates(model: str, rates: Mapping[str, float]) -> None:
    """Raises RecipeError unless every dropout rate is in [0, 1)."""
    for setting, rate in rates.items():
        require(0.0 <= rate < 1.0, model, setting, rate, "a rate of at least 0 and less than 1")


def require_targets(model: str, targets: Sequence[str] | None) -> None:
    """Raises RecipeError unless `targets` is None or names distinct modalities, at least one."""
    if targets is None:
        return
    distinct = len(set(targets)) == len(targets) >= 1 and set(targets) <= set(MODALITIES)
    require(distinct, model, "targets", list(targets), f"one or more of {list(MODALITIES)}, each once")


def directions(model: str, targets: Sequence[str] | None, features: Mapping[str, FeatureSpec]) -> dict[str, list[str]]:
    """Which sources answer each target: every other modality that the data has.

    Returns:
        target -> sources, in the order of MODALITIES.

    Raises:
        RecipeError: fewer than two modalities, or a target that the data lacks.
    """
    present = [name for name in MODALITIES if name in features]
    if len(present) < 2:
        raise RecipeError(
            f"The model {model} needs at least two modalities and was given {present}. Train `unimodal` on a single modality, "
            "or name more under data.modalities."
        )
    targets = present if targets is None else targets
    absent = [name for name in targets if name not in present]
    if absent:
        raise RecipeError(f"The model {model} has targets {list(targets)}, but the data has only {present}. Set model.targets to some of {present}.")
    return {target: [name for name in present if name != target] for target in MODALITIES if target in targets}
