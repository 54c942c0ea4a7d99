"""Is the content of a store what was written? Opening looks at sizes and headers alone; this reads everything once and compares its hash."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from multigrain.data.store import Store
from multigrain.data.store_format import tensors_file, utterances_file
from multigrain.errors import StoreError

if TYPE_CHECKING:
    from multigrain.data.joint_store import JointStore


def changed_splits(store: Store) -> list[str]:
    """The splits whose tensors, ids, groups or (for a language model) words are not those that the manifest has the hash of."""
    changed = []
    for name, facts in store.manifest["splits"].items():
        with (store.path / tensors_file(name)).open("rb") as file:
            tensors = hashlib.file_digest(file, "sha256").hexdigest()
        found = hashlib.sha256((tensors + _names_digest(store, store.path / utterances_file(name))).encode()).hexdigest()
        if found != facts.get("content_sha256"):
            changed.append(name)
    content = json.dumps({name: facts.get("content_sha256") for name, facts in store.manifest["splits"].items()}, sort_keys=True)
    if not changed and hashlib.sha256(content.encode()).hexdigest() != store.fingerprint:
        return list(store.manifest["splits"])
    return changed


def check_content(store: "Store | JointStore") -> None:
    """Compares the content of a store, or of each of several, with what was written.

    Raises:
        StoreError: it was changed.
    """
    for each in [store] if isinstance(store, Store) else store.stores.values():
        changed = changed_splits(each)
        if changed:
            raise StoreError(
                f"The content of {each} is not what was written: that of {', '.join(changed)} was changed in place (labels, features or names), "
                "or damaged on the disk. Copy the store again from where it came, or convert the data set again."
            )


def _names_digest(store: Store, path: Path) -> str:
    digest = hashlib.sha256()
    has_words = store.manifest["features"].get("text", {}).get("dim") == 0  # its features may be a language model's by now
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                record = json.loads(line)
                digest.update(json.dumps([record["id"], record["group"]]).encode())
                if has_words:
                    digest.update(json.dumps([record["words"], record["text"]]).encode())
            except (ValueError, KeyError, TypeError):
                return ""
    return digest.hexdigest()
