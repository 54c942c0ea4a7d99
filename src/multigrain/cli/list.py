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

    table = Table(*(rows[0] if rows else ["nothing"]))
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
    import yaml

    from multigrain.training.recipe_file import list_recipes

    rows = []
    for name, path in list_recipes().items():
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        data = values["data"]
        stores = [data["store"]] if "store" in data else [store["path"] for store in data["stores"]]
        rows.append({"name": name, "model": values["model"]["name"], "store": ", ".join(stores)})
    return rows


LISTS: dict[str, Callable[[], list[dict[str, Any]]]] = {"models": _models, "readers": _readers, "metrics": _metrics, "recipes": _recipes}
