"""An encoder from the hub: from the local cache without any network, else downloaded; without a network it fails in seconds."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

REACH_SECONDS = 10.0
"""How long the hub may take to answer whether it has the encoder; a download after that may take as long as it needs."""

PATTERNS: tuple[str, ...] = (
    *("config.json", "*.safetensors", "*.safetensors.index.json", "1_Pooling/config.json"),
    *("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model"),
)
"""Files of a repository that an encoder is made of: description, weights, tokenizer."""


def fetch(hub_id: str, revision: str | None) -> Path:
    """The local folder of an encoder of the hub.

    Weights are taken as safetensors only: pickled ones could run code.

    Raises:
        Exception: whatever huggingface_hub says; TimeoutError where the hub does not answer in `REACH_SECONDS`.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    options: dict[str, Any] = {"revision": revision, "allow_patterns": list(PATTERNS), "ignore_patterns": ["onnx/*", "openvino/*"]}
    try:
        folder = Path(snapshot_download(hub_id, local_files_only=True, **options))
        if missing_part(folder) is None:
            return folder
    except LocalEntryNotFoundError:
        pass
    _within(REACH_SECONDS, lambda: HfApi().repo_info(hub_id, revision=revision, timeout=REACH_SECONDS / 2))
    return Path(snapshot_download(hub_id, etag_timeout=REACH_SECONDS / 2, **options))


def missing_part(folder: Path) -> str | None:
    """What a folder lacks of an encoder: its description, safetensors weights or tokenizer; None where all are there.

    Without a tokenizer's files transformers would make one that knows no word, and say nothing.
    """
    parts = {"config.json": ("config.json",), "weights": ("*.safetensors",), "a tokenizer": ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")}
    return next((name for name, patterns in parts.items() if not any(any(folder.glob(pattern)) for pattern in patterns)), None)


def _within(seconds: float, ask: Callable[[], Any]) -> None:
    """Asks in a thread of its own, since looking up a name cannot be told to give up."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            ask()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    if failures:
        raise failures[0]
