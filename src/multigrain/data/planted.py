"""The planted data set as a store: utterances, the oracle's score, every limit that can be proved, and the truth about bindings.

What an utterance is and how its label follows is in `multigrain.data.planted_generator`; what each kind of model can reach
at best, and why, in `multigrain.data.planted_limits`.

`manifest.json` of such a store holds under `extra.planted`:

- `config`: every dial;
- `oracle`: per split (valid, test), all metrics of the best possible prediction, the noiseless label `g`, on these very utterances;
- `limits`: the largest correlation that each kind of evidence allows, on average over all utterances (see `correlation_limits`);
- `oracle_mean_absolute_error`: the oracle's expected error, `label_noise * sqrt(2 / pi)`;
- `bindings`: the name of the file in the store with one line per utterance: `{"id", "split", "polar_words": [{"word", "key",
  "polarity", "audio_step", "vision_step", "chain", "is_reversed_by_chain"}]}`, so that attention can be scored against the truth.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from multigrain.data.planted_generator import (
    Binding,
    PlantedConfig,
    allowed_steps,
    generate_bound_utterances,
    generate_utterances,
    noiseless_label,
    planted_codes,
)
from multigrain.data.planted_limits import correlation_limits, expected_label_from_text, oracle_mean_absolute_error
from multigrain.data.store import Store, StoreWriter
from multigrain.errors import StoreError
from multigrain.metrics import compute_metrics
from multigrain.schema import MODALITIES, SPLITS, FeatureSpec, Task

__all__ = [
    "BINDINGS_FILE",
    "Binding",
    "PlantedConfig",
    "allowed_steps",
    "correlation_limits",
    "expected_label_from_text",
    "generate_bound_utterances",
    "generate_utterances",
    "noiseless_label",
    "oracle_mean_absolute_error",
    "planted_codes",
    "planted_facts",
    "planted_features",
    "read_bindings",
    "write_planted_store",
]

BINDINGS_FILE = "bindings.jsonl"
EXTRACTOR = "planted"
GENERATOR_VERSION = "1"
PLANTED_TASK = Task(kind="regression", minimum=-3.0, maximum=3.0)


def planted_features(config: PlantedConfig) -> dict[str, FeatureSpec]:
    """The feature specifications of a planted data set; its steps belong to words, so that there is no rate in Hz.

    The version names the codes, since a model that learned one set of codes is of no use with another.
    """
    chain = f"-chain{config.chain_length}" if config.chain_length > 1 else ""
    world = f"{GENERATOR_VERSION}-keys{config.num_keys}-angle{config.code_angle_degrees:g}-length{config.code_length:g}{chain}"
    return {modality: FeatureSpec(dim=config.width, extractor=EXTRACTOR, version=world) for modality in MODALITIES}


def write_planted_store(path: str | Path, config: PlantedConfig | None = None, overwrite: bool = False) -> Path:
    """Makes a planted data set and writes it as a store, with its bindings beside the utterances.

    Args:
        path: the store's folder.
        config: the dials; the default instance when None.
        overwrite: replace a store that is already there.

    Returns:
        The store's folder.

    Raises:
        DataError: something is already at `path`, or it cannot be written.
    """
    config = PlantedConfig() if config is None else config
    writer = StoreWriter(
        path,
        task=PLANTED_TASK,
        features=planted_features(config),
        source={"name": "multigrain planted data", "format": "planted", "seed": config.seed},
        licence="made by multigrain's generator; free of any rights",
        extra={"planted": planted_facts(config)},
        overwrite=overwrite,
    )
    lines: list[str] = []
    with writer:
        for split in SPLITS:
            for utterance, bindings in generate_bound_utterances(config, split):
                writer.add(utterance)
                lines.append(json.dumps({"id": utterance.id, "split": split, "polar_words": [asdict(binding) for binding in bindings]}) + "\n")
        writer.add_file(BINDINGS_FILE, "".join(lines).encode())
    return writer.path


def planted_facts(config: PlantedConfig) -> dict[str, Any]:
    """What is known of a planted data set, as JSON values: its dials, its oracle's metrics, and what falls short of it."""
    return {
        "config": asdict(config),
        "oracle": {split: metrics for split in ("valid", "test") if (metrics := _oracle_metrics(config, split)) is not None},
        "oracle_mean_absolute_error": oracle_mean_absolute_error(config),
        "limits": correlation_limits(config),
        "bindings": BINDINGS_FILE,
    }


def _oracle_metrics(config: PlantedConfig, split: str) -> dict[str, float] | None:
    pairs = [(noiseless_label(bindings), utterance.label) for utterance, bindings in generate_bound_utterances(config, split)]
    values = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    if len(values) < 2 or np.ptp(values[:, 0]) == 0:
        return None  # too few utterances for a correlation
    metrics = compute_metrics(PLANTED_TASK, values[:, :1], values[:, 1:])
    return {name: value for name, value in metrics.items() if not math.isnan(value)}  # of few utterances some have no meaning


def read_bindings(store_path: str | Path) -> dict[str, list[Binding]]:
    """The polar words of every utterance of a planted store, and the events that belong to them.

    Returns:
        Utterance id -> its polar words, in the order in which they are said.

    Raises:
        StoreError: no store, not a planted one, or its bindings are missing or damaged.
    """
    store = Store.open(store_path)
    if "planted" not in store.manifest["extra"]:
        raise StoreError(
            f"{store.path} is not a planted store, so nobody knows which events belong to which words in it. "
            "Make one with `multigrain data planted STORE`."
        )
    path = store.path / BINDINGS_FILE
    if not path.is_file():
        raise StoreError(f"{path} is missing: the planted store was copied without its bindings. Copy it whole, or make it again.")
    bindings = dict(_read_lines(path))
    expected = sum(len(split) for split in store.splits.values())
    if len(bindings) != expected:
        raise StoreError(f"{path} has bindings for {len(bindings)} utterances, but the store holds {expected}. Make the planted store again.")
    return bindings


def _read_lines(path: Path) -> Iterator[tuple[str, list[Binding]]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                yield record["id"], [Binding(**(word | {"chain": tuple(word.get("chain", ()))})) for word in record["polar_words"]]
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(f"{path}, line {number}: not a planted utterance's bindings ({error}). Make the planted store again.") from error
