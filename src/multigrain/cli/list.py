"""`multigrain list models|readers|metrics|recipes`: what there is, from the registries themselves."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from multigrain.errors import RecipeError, nearest

NOMINAL_WIDTHS = {"text": 300, "audio": 5, "vision": 20}
"""Feature widths at which models are counted: MOSI's published ones (GloVe, COVAREP, Facet)."""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("list")(list_registry)


def list_registry(
    kind: Annotated[str, typer.Argument(metavar="models|readers|metrics|recipes", help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Lists the models, readers, metrics or recipes that there are."""
    if kind not in LISTS:
        raise RecipeError(f"There is no list of {kind!r}; expected one of {', '.join(LISTS)}.{nearest(kind, [*LISTS])}")
    rows = LISTS[kind]()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    rows = _collapsed(rows) if kind == "recipes" else rows
    table = Table()
    for title in rows[0] if rows else ["nothing"]:
        table.add_column(title, overflow="fold")  # names are to be typed, so that none may end in an ellipsis
    for row in rows:
        table.add_row(*(f"{value:,}" if type(value) is int and value > 9999 else str(value) for value in row.values()))
    Console().print(table)


def _models() -> list[dict[str, Any]]:
    from multigrain.models import MODELS, build_model
    from multigrain.schema import FeatureSpec, Task

    rows = []
    for name, model_class in MODELS.items():
        features = {modality: FeatureSpec(dim=NOMINAL_WIDTHS[modality]) for modality in model_class.modalities}
        model = build_model(name, {}, Task(), features)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        paper = model_class.paper
        rows.append({"name": name, "paper": paper.title, "venue": paper.venue, "year": paper.year, "parameters": parameters, "url": paper.url})
    return rows


def _readers() -> list[dict[str, Any]]:
    from multigrain.data.readers import READERS

    return [{"name": name, "description": reader.description} for name, reader in READERS.items()]


def _metrics() -> list[dict[str, Any]]:
    from multigrain.metrics import METRICS

    return [
        {
            "name": name,
            "unit": metric.unit,
            "better": "higher" if metric.higher_is_better else "lower",
            "description": metric.description,
        }
        for name, metric in METRICS.items()
    ]


def _recipes() -> list[dict[str, Any]]:
    from multigrain.training.recipe_file import list_recipes
    from multigrain.training.recipe_source import read_values

    rows = []
    for name, source in list_recipes().items():
        values = read_values(source)
        data = values["data"]
        stores = [data["store"]] if "store" in data else [store["path"] for store in data["stores"]]
        published = values.get("published") or []
        rows.append({"name": name, "model": values["model"]["name"], "store": ", ".join(stores), "published": published})
    return rows


def _collapsed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Recipes for a narrow table: those of the papers that share folder, model and store on one line; the rows that they are in JSON alone."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        folder, _, last = row["name"].rpartition("/")
        is_family = folder.count("/") > 0
        groups.setdefault((folder, "" if is_family else last, row["model"], row["store"]), []).append(last)
    return [
        {"name": f"{folder}/{lasts[0]}" if len(lasts) == 1 else f"{folder}/... {', '.join(lasts)}", "model": model, "store": store}
        for (folder, _, model, store), lasts in groups.items()
    ]


LISTS: dict[str, Callable[[], list[dict[str, Any]]]] = {"models": _models, "readers": _readers, "metrics": _metrics, "recipes": _recipes}
