"""How fast a store as large as MOSEI opens, and how much memory reading it takes.

Makes a store of random features with MOSEI's counts and widths at real lengths (about 1.4 GB in a temporary
folder, removed afterwards), and prints the time to open it, the speed of a first epoch (from disk: the system is told to forget the
files) and of a second one, and the process's own memory, that is, what is resident without the pages of mapped files, which the system
can take back at any time.

With `--train MODEL` it also trains that model (default settings, Adam, length-bucketed batches of at most `--steps`
padded steps) on batches from all over the epoch, the longest among them, and prints the most memory of its own that the
process took, and loading's share of the time.

    python benchmarks/store_memory.py [--utterances 22856] [--batch 32] [--train mult] [--word-counts meta.csv] [--folder /fast/disk]
"""

import argparse
import csv
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from multigrain.data.batching import LengthBucketSampler, data_loader
from multigrain.data.store import Store, StoreWriter
from multigrain.schema import FeatureSpec, Task, Utterance

DIMS = {"text": 300, "audio": 74, "vision": 35}
STEPS_PER_WORD = {"text": 1.0, "audio": 7.5, "vision": 10.0}
MOST_WORDS = 50
SPLIT_SHARES = {"train": 16327 / 22856, "valid": 1871 / 22856, "test": 4658 / 22856}
OPENING_LIMIT_SECONDS = 1.0
MEMORY_LIMIT_BYTES = 1.5e9
LEAST_UTTERANCES_A_SECOND = 5000
MOST_LOADING_SHARE = 0.05


def memory() -> dict[str, float]:
    """Resident memory of this process in bytes: all of it, what is its own, and mapped files' pages."""
    fields = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = 1024.0 * float(value.split()[0])
    return {"resident": fields["Rss"], "own": fields["Anonymous"], "files": fields["Rss"] - fields["Anonymous"]}


def word_counts(count: int, source: Path | None, generator: np.random.Generator) -> np.ndarray:
    """Words per utterance: drawn from the `text` column of a CSV file, or from a lognormal law with mean about 12.5."""
    if source is None:
        return np.clip(np.rint(generator.lognormal(2.27, 0.75, count)), 1, MOST_WORDS).astype(int)
    with source.open(encoding="utf-8", newline="") as file:
        observed = [min(max(len(row["text"].split()), 1), MOST_WORDS) for row in csv.DictReader(file)]
    return generator.choice(observed, count)


def write_store(path: Path, counts: np.ndarray) -> None:
    """Writes utterances whose features are random windows of one noise array a modality (drawing them all would take longer)."""
    generator = np.random.default_rng(0)
    noise = {name: generator.normal(size=(5000, dim)).astype(np.float32) for name, dim in DIMS.items()}
    splits = generator.choice(list(SPLIT_SHARES), counts.size, p=list(SPLIT_SHARES.values()))
    with StoreWriter(path, task=Task(), features={name: FeatureSpec(dim=dim, extractor="noise") for name, dim in DIMS.items()}) as writer:
        for index, (words, split) in enumerate(zip(counts, splits, strict=True)):
            features = {}
            for name, values in noise.items():
                start = int(generator.integers(4000))
                features[name] = values[start : start + int(words * STEPS_PER_WORD[name])]
            label = float(np.clip(generator.normal(), -3, 3))
            writer.add(Utterance(id=f"video_{index}", split=str(split), group=f"video_{index // 8}", features=features, label=label))


def measure(path: Path, batch: int, workers: int) -> bool:
    """Prints the figures; True when they keep the limits."""
    forget(path)
    before = memory()
    start = time.perf_counter()
    store = Store.open(path)
    opening = time.perf_counter() - start
    split = store.split("train")
    sampler = LengthBucketSampler({name: split.lengths(name) for name in split.modalities}, batch_utterances=batch, shuffle=True, seed=0)
    loader = data_loader(split, sampler, num_workers=workers)
    most, rates = 0.0, []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        start = time.perf_counter()
        for step, _ in enumerate(loader):
            if step % 50 == 0:
                most = max(most, memory()["own"])
        rates.append(len(split) / (time.perf_counter() - start))
    after = memory()
    most = max(most, after["own"])
    print(f"opening                  {1000 * opening:10.1f} ms   (limit {1000 * OPENING_LIMIT_SECONDS:.0f})")
    print(f"first epoch, from disk   {rates[0]:10.0f} utterances a second, {len(split)} in batches of {batch}   (limit {LEAST_UTTERANCES_A_SECOND})")
    print(f"second epoch             {rates[1]:10.0f} utterances a second")
    print(f"padding waste            {100 * sampler.padding_waste():10.1f} %")
    print(f"own memory, before       {before['own'] / 1e6:10.0f} MB")
    print(f"own memory, at most      {most / 1e6:10.0f} MB   (limit {MEMORY_LIMIT_BYTES / 1e6:.0f})")
    print(f"mapped pages, after      {after['files'] / 1e6:10.0f} MB   (the libraries and the store)")
    return opening < OPENING_LIMIT_SECONDS and most < MEMORY_LIMIT_BYTES and min(rates) >= LEAST_UTTERANCES_A_SECOND


def forget(path: Path) -> None:
    """Lets the system drop a store's files from memory, so that they are read from disk anew."""
    for file in path.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def train(path: Path, model_name: str, batch: int, steps: int, num_batches: int) -> bool:
    """Trains on `num_batches` batches, the longest first, and prints memory; True when it keeps the limit."""
    import torch

    from multigrain.losses import task_loss
    from multigrain.models import build_model

    store = Store.open(path)
    split = store.split("train")
    lengths = {name: split.lengths(name) for name in split.modalities}
    sampler = LengthBucketSampler(lengths, batch_utterances=batch, batch_steps=steps, shuffle=True, seed=0)
    batches = sorted(sampler, key=lambda indices: -len(indices) * int(lengths["vision"][indices].max()))
    chosen = [batches[0], *batches[1 :: max(1, len(batches) // num_batches)]]
    model = build_model(model_name, {}, store.task, store.features).train()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    most, loading, start = 0.0, 0.0, time.perf_counter()
    for indices in chosen:
        asked = time.perf_counter()
        drawn = split.batch(indices)
        loading += time.perf_counter() - asked
        loss = task_loss(store.task, model(drawn).prediction, drawn.label)
        most = max(most, memory()["own"])  # the graph of the whole step is alive here
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.8)
        optimizer.step()
        most = max(most, memory()["own"])
    seconds = time.perf_counter() - start
    count = sum(map(len, chosen))
    print(f"training {model_name:<16}{1000 * seconds / len(chosen):10.0f} ms a step; {len(chosen)} steps, {count} utterances")
    print(f"of that, loading         {100 * loading / seconds:10.1f} %    (limit {100 * MOST_LOADING_SHARE:.0f})")
    print(f"own memory, at most      {most / 1e6:10.0f} MB   (limit {MEMORY_LIMIT_BYTES / 1e6:.0f}; batches of at most {steps} padded steps)")
    return most < MEMORY_LIMIT_BYTES and loading < MOST_LOADING_SHARE * seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=22856)
    parser.add_argument("--batch", type=int, default=32, help="utterances in a batch")
    parser.add_argument("--workers", type=int, default=0, help="loader processes")
    parser.add_argument("--train", metavar="MODEL", help="also train this model")
    parser.add_argument("--steps", type=int, default=4000, help="padded steps of the longest modality in a training batch")
    parser.add_argument("--train-batches", type=int, default=40, help="batches to train on")
    parser.add_argument("--word-counts", type=Path, help="a CSV file with a `text` column to draw word counts from")
    parser.add_argument("--folder", type=Path, help="where to make the temporary store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="multigrain-store-memory-") as folder:
        path = Path(folder) / "mosei_sized.store"
        counts = word_counts(options.utterances, options.word_counts, np.random.default_rng(1))
        start = time.perf_counter()
        write_store(path, counts)
        size = sum(file.stat().st_size for file in path.iterdir())
        print(f"{counts.size} utterances, {counts.mean():.1f} words on average, at most {counts.max()}")
        print(f"writing                  {time.perf_counter() - start:10.1f} s    {size / 1e9:.2f} GB")
        kept = measure(path, options.batch, options.workers)
        if options.train:
            kept = train(path, options.train, options.batch, options.steps, options.train_batches) and kept
    raise SystemExit(0 if kept else "The limits were not kept.")


if __name__ == "__main__":
    main()
