"""States of a frozen language model on disk, computed once for each store and encoder, and read by memory map.

A cache is the folder `language/KEY` in the store (or in a folder of the user's): one safetensors file a split, and `manifest.json`
with their sizes. KEY is a hash of all that decides the states: the encoder's files, the most tokens, the store's content and its
transcripts. So a changed encoder or store has another key, and never finds the states of the former one. A cache is made in a hidden
folder and renamed when it is whole.
"""

import errno
import hashlib
import json
import logging
import secrets
import shutil
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Float

from multigrain.data.language_split import STATES
from multigrain.data.store import Store
from multigrain.data.store_format import (
    MANIFEST_FILE,
    PARTIAL_MARK,
    TensorEntry,
    flush_folder,
    flush_to_disk,
    header_digest,
    read_header,
    tensors_file,
    write_safetensors,
)
from multigrain.errors import DataError, StoreError
from multigrain.language.encoder import TextEncoder
from multigrain.language.pieces import TokenTable
from multigrain.language.reader import TextReader

logger = logging.getLogger(__name__)

CACHE_FORMAT_VERSION = 1
CACHE_FOLDER = "language"
TOKENS_A_BATCH = 4096


def cached_states(store: Store, reader: TextReader, tables: dict[str, TokenTable], transcripts_sha256: str) -> dict[str, Path]:
    """The file of states of each split, computed first where they are not there.

    Args:
        store: whose transcripts these are.
        reader: a frozen language model.
        tables: their word-pieces, by split.
        transcripts_sha256: of the transcripts.

    Raises:
        DataError: the cache cannot be written.
        RecipeError: the encoder's weights cannot be read.
    """
    root = store.path / CACHE_FOLDER if reader.settings.cache is None else Path(reader.settings.cache)
    facts = {
        "format_version": CACHE_FORMAT_VERSION,
        "encoder": reader.source.name,
        "encoder_sha256": reader.source.sha256,
        "max_tokens": reader.settings.max_tokens,
        "store_fingerprint": store.fingerprint,
        "transcripts_sha256": transcripts_sha256,
    }
    identity = {name: value for name, value in facts.items() if name != "encoder"}
    folder = root / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
    if not is_whole(folder, tables):
        try:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / f".{folder.name}.lock"):  # of several processes one computes, the others wait
                if not is_whole(folder, tables):
                    _make(folder, reader, tables, facts)
        except OSError as error:
            reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"{error.strerror or error}"
            raise DataError(
                f"The states of the frozen text encoder cannot be kept in {root}: {reason}. Name a folder that can be written to and has "
                "space: text_encoder.cache=FOLDER; or train with another text_encoder.mode, which needs no cache."
            ) from error
    return {name: folder / tensors_file(name) for name in tables}


def is_whole(folder: Path, tables: dict[str, TokenTable]) -> bool:
    """Whether a cache has every split's file as it was written, with as many states as there are pieces."""
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        files = {name: manifest["files"][tensors_file(name)] for name in tables}
        for name, known in files.items():
            path = folder / tensors_file(name)
            if known["states"] != len(tables[name].ids) or path.stat().st_size != known["bytes"]:
                return False
            if header_digest(read_header(path)) != known["header_sha256"]:
                return False
    except (OSError, ValueError, KeyError, TypeError, StoreError):
        return False
    return True


def _make(folder: Path, reader: TextReader, tables: dict[str, TokenTable], facts: dict[str, object]) -> None:
    count = sum(len(table.lengths) for table in tables.values())
    logger.info("Computing the states of %d utterances with %s; they are kept in %s.", count, reader.source.name, folder)
    for leftover in folder.parent.glob(f".{folder.name}{PARTIAL_MARK}*"):  # of a process that was killed: the lock is ours
        shutil.rmtree(leftover, ignore_errors=True)
    partial, files = folder.with_name(f".{folder.name}{PARTIAL_MARK}{secrets.token_hex(4)}"), {}
    partial.mkdir()
    try:
        encoder = TextEncoder(reader)
        for name, table in tables.items():
            states = compute_states(encoder, table)
            entry = TensorEntry(name=STATES, dtype="F32", shape=states.shape)
            written = write_safetensors(partial / tensors_file(name), [(entry, states)])
            files[tensors_file(name)] = {"states": len(states), "bytes": written.num_bytes, "header_sha256": written.header_sha256}
        with (partial / MANIFEST_FILE).open("wb") as file:
            file.write(json.dumps(facts | {"files": files}, indent=2).encode() + b"\n")
            flush_to_disk(file)
        flush_folder(partial)
        if folder.exists():  # damaged, or it would have been used
            logger.warning("The cached states in %s were damaged and are computed again.", folder)
            shutil.rmtree(folder)
        partial.rename(folder)
        flush_folder(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def compute_states(encoder: TextEncoder, table: TokenTable) -> Float[np.ndarray, "token dim"]:
    """The state of every piece of a table, utterances of like length together; on a GPU where there is one."""
    states = np.zeros((len(table.ids), encoder.reader.width), dtype=np.float32)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    order = [int(row) for row in np.argsort(table.lengths, kind="stable") if table.lengths[row] > 0]
    while order:
        rows = np.array(order[-max(1, TOKENS_A_BATCH // int(table.lengths[order[-1]])) :])
        del order[-len(rows) :]
        tokens = table.tokens(rows).to(device)
        found = encoder(tokens.ids, tokens.mask).cpu().numpy()
        for row, own in zip(rows, found, strict=True):
            start, length = int(table.starts[row]), int(table.lengths[row])
            states[start : start + length] = own[:length]
    return states
