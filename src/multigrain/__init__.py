"""multigrain: multimodal sentiment analysis in videos, with numbers that can be trusted.

The public names below are imported when first used, so that `import multigrain` is fast and silent.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Batch": "multigrain.schema",
    "FeatureSpec": "multigrain.schema",
    "ModalitySequence": "multigrain.schema",
    "ModelOutput": "multigrain.schema",
    "Task": "multigrain.schema",
    "Utterance": "multigrain.schema",
    "MultigrainError": "multigrain.errors",
    "MODELS": "multigrain.models",
    "build_model": "multigrain.models",
    "load": "multigrain.models",
    "Store": "multigrain.data.store",
    "Analysis": "multigrain.analysis.result",
    "analyze": "multigrain.analysis.analyze",
    "analyze_text": "multigrain.analysis.analyze",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'multigrain' has no attribute {name!r}; public names are {sorted(_PUBLIC)}")


def __dir__() -> list[str]:
    return sorted(__all__)
