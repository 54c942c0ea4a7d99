"""The import rule of docs/architecture.md: parts import only parts to their left, there is no cycle, and the package is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import multigrain

PACKAGE = Path(multigrain.__file__).parent
LEVELS = (
    ("errors", "schema", "step_times", "hub", "described"),
    ("layers", "losses", "metrics", "language", "data", "published"),
    ("models",),
    ("training", "evaluation", "video"),
    ("plots", "report", "demo", "analysis", "benchmark"),
    ("web",),
    ("cli", "__main__"),
)
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}
HEAVY = ("torch", "lightning", "h5py", "matplotlib", "transformers", "peft", "numpy", "scipy", "safetensors", "huggingface_hub")
HEAVY += ("jsonargparse", "rich", "av", "mediapipe", "opensmile", "pocketsphinx", "pysubs2")


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported_modules(tree: ast.AST, importer: str, path: Path, *, at_import_only: bool) -> set[str]:
    """Modules of multigrain that a module imports; with `at_import_only`, not those inside functions or under TYPE_CHECKING."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if at_import_only and (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(node)):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "multigrain"}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = importer.split(".") if path.name == "__init__.py" else importer.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            if base.split(".")[0] == "multigrain":
                found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
        else:
            found |= imported_modules(node, importer, path, at_import_only=at_import_only)
    return found


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_part_has_its_place_in_the_rule():
    assert {part_of(module) for module in MODULES} - {""} <= set(LEVEL)


@pytest.mark.parametrize("module", [module for module in MODULES if part_of(module)])
def test_modules_import_only_to_the_left(module):
    for imported in imported_modules(parse(module), module, MODULES[module], at_import_only=False):
        if part_of(imported):
            assert LEVEL[part_of(imported)] <= LEVEL[part_of(module)], f"{module} imports {imported}, which stands to its right"


@pytest.mark.parametrize("module", [module for module in MODULES if part_of(module) == "models"])
def test_models_never_see_data_files(module):
    imported = imported_modules(parse(module), module, MODULES[module], at_import_only=False)
    assert not [name for name in imported if part_of(name) == "data"]


def test_there_is_no_import_cycle():
    graph = {name: imported_modules(parse(name), name, path, at_import_only=True) & MODULES.keys() for name, path in MODULES.items()}
    assert find_cycle(graph) is None


def find_cycle(graph: dict[str, set[str]]) -> list[str] | None:
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> list[str] | None:
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return None
        for imported in sorted(graph[module] - {module}):
            cycle = visit(imported, [*trail, module])
            if cycle:
                return cycle
        done.add(module)
        return None

    for module in graph:
        cycle = visit(module, [])
        if cycle:
            return cycle
    return None


def test_the_walk_itself_sees_cycles_and_wrong_imports():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    path = PACKAGE / "schema.py"
    tree = ast.parse("def f():\n    from multigrain.models import base\nimport multigrain.errors\nfrom .data import store")
    everything = imported_modules(tree, "multigrain.schema", path, at_import_only=False)
    assert everything == {"multigrain.models.base", "multigrain.errors", "multigrain.data.store"}
    assert "multigrain.models.base" not in imported_modules(tree, "multigrain.schema", path, at_import_only=True)


def test_importing_multigrain_is_light_and_silent():
    code = f"import sys, multigrain; multigrain.__version__; print(sorted(set({HEAVY!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_models_and_stores_import_no_language_model_library():
    """Those are imported when a text encoder is used. (Lightning's torchmetrics imports transformers by itself wherever it is installed.)"""
    code = "import sys, multigrain.models, multigrain.data.language_store; print(sorted({'transformers', 'peft', 'lightning'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
