"""Which modules' annotations are checked at every call while tests run: those that give shapes.

The check binds and looks at every argument of every function of a module, so that in all modules the models' tests took two thirds longer than
without it, much of that in modules that read numbers one by one. Types without shapes are mypy's.
"""

from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "multigrain"


def modules_with_shapes() -> list[str]:
    """The dotted names of the package's modules that import jaxtyping."""
    files = sorted(file for file in PACKAGE.rglob("*.py") if "from jaxtyping import" in file.read_text(encoding="utf-8"))
    return [".".join(("multigrain", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in files]
