"""A recipe's section `published`: which rows of the papers' tables it is, checked; and why it shows none after all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from multigrain.errors import RecipeError
from multigrain.published.rows import find_row
from multigrain.published.variant import differences

if TYPE_CHECKING:
    from multigrain.training.recipe import Recipe

MOST_CHANGES = 3
"""How many changed settings are named one by one."""


@dataclass(frozen=True, kw_only=True)
class PublishedRecipe:
    """Which published rows a recipe is.

    Attributes:
        rows: their ids, such as "mcmut/table_4/mcmut_dense" (see `multigrain.published.rows`); several where papers print the same
            variant more than once.
        withheld: why they are not shown, since the recipe was changed on the command line; None where they are.
    """

    rows: tuple[str, ...] = ()
    withheld: str | None = None

    def to_value(self) -> Any:
        """What stands under `published:` in the YAML file: a list of ids, or a mapping where they are withheld; None for no rows."""
        if not self.rows:
            return None
        return list(self.rows) if self.withheld is None else {"rows": list(self.rows), "withheld": self.withheld}


def parse_published(value: Any) -> PublishedRecipe:
    """The section as it stands in a file: an id, a list of ids, or a mapping with `rows` and `withheld`.

    Raises:
        RecipeError: it is anything else, or a row that does not exist.
    """
    withheld = None
    if isinstance(value, Mapping):
        unknown = sorted(set(value) - {"rows", "withheld"})
        if unknown:
            raise RecipeError(f"unknown key 'published.{unknown[0]}'. Known here: rows, withheld.")
        value, withheld = value.get("rows"), value.get("withheld")
    ids = [value] if isinstance(value, str) else value or []
    if not isinstance(ids, Sequence) or not all(isinstance(entry, str) for entry in ids) or not isinstance(withheld, str | None):
        raise RecipeError(f"published is {value!r}; expected a list of published rows, such as [mcmut/table_1/unaligned/mcmut], or null.")
    for entry in ids:
        find_row(entry)
    return PublishedRecipe(rows=tuple(ids), withheld=withheld)


def check_variant(recipe: "Recipe") -> None:
    """Checks that a recipe is the variant of every row that it claims to be.

    Raises:
        RecipeError: it is not; the message says in what.
    """
    if recipe.published.withheld is not None:
        return
    for identifier in recipe.published.rows:
        row = find_row(identifier)
        found = differences(row, recipe.to_dict())
        if found:
            raise RecipeError(
                f"published names {identifier}, {row.title}, but the recipe is another variant: {'; '.join(found)}. Mend the setting, or take the "
                "row out of `published:`."
            )


def changes(before: "Recipe", after: "Recipe") -> str | None:
    """How the model, what it reads, its task or its loss was changed, such as "model.width was changed from 40 to 8"; None where not."""
    old, new = _identity(before), _identity(after)
    changed = [
        f"{key} was changed from {_in_words(old.get(key))} to {_in_words(new.get(key))}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]
    if len(changed) > MOST_CHANGES:
        return f"{'; '.join(changed[:MOST_CHANGES])}; and {len(changed) - MOST_CHANGES} more"
    return "; ".join(changed) or None


def _identity(recipe: "Recipe") -> dict[str, Any]:
    """What makes a trained model the one that a row stands for, by dotted name."""
    encoder, dropout = {} if recipe.text_encoder is None else asdict(recipe.text_encoder), recipe.training.modality_dropout
    sections: dict[str, dict[str, Any]] = {
        "model": {"name": recipe.model.name, **recipe.model.config},
        "task": asdict(recipe.task),
        "training": {"loss": recipe.training.loss, "modality_dropout": {name: rate for name, rate in dropout.items() if rate}},
        "data": {"modalities": recipe.data.modalities},
        "text_encoder": {key: value for key, value in encoder.items() if key != "cache"},
    }
    return {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}


def _in_words(value: Any) -> str:
    return "nothing" if value is None else f"{value}"
