"""Feeds the readers and the checkpoint loader with damaged and hostile files, and counts what comes of it.

    python benchmarks/fuzz_readers.py --inputs 80000 --log fuzz.log

Each format has small whole files, which are changed at random: bytes, pieces, numbers, lengths, and for pickles whole made-up programs. A child
process with limits of memory and time reads them one after another. A file is either read or refused with one of our errors; anything else (a
traceback, a crash, more memory or time than stated) is kept beside the log with its seed. The log has a line for each format.
"""

import argparse
import json
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MEMORY_BYTES = 3 << 30
"""Address space of a child above what it has once everything is imported."""
SECONDS_EACH = 10
BATCH = 1000

Make = Callable[[random.Random, Path], Path]
Read = Callable[[Path], Any]


# Whole files ------------------------------------------------------------------------------------------------------


def mult_content(count: int = 3) -> dict[str, Any]:
    """A MulT data set."""
    split = {
        "text": np.ones((count, 4, 3), np.float32),
        "audio": np.ones((count, 4, 2), np.float32),
        "vision": np.ones((count, 4, 2), np.float32),
        "labels": np.zeros((count, 1, 1), np.float32),
        "id": np.array([["v", "0.0", "1.0"]] * count),
    }
    return {"train": split, "valid": split, "test": split}


def mmsa_content(count: int = 3) -> dict[str, Any]:
    """An MMSA data set."""
    split = {
        "text": np.ones((count, 4, 3), np.float32),
        "text_bert": np.ones((count, 3, 4), np.float32),
        "audio": np.ones((count, 5, 2), np.float32),
        "vision": np.ones((count, 5, 2), np.float32),
        "audio_lengths": [5] * count,
        "vision_lengths": [3] * count,
        "regression_labels": np.zeros(count, np.float32),
        "raw_text": ["a b"] * count,
        "id": [f"v$_${number}" for number in range(count)],
    }
    return {"train": split, "valid": split, "test": split}


def items_content(has_ids: bool) -> list[Any]:
    """Items of MISA (with word ids) or MAG-BERT."""
    arrays = (np.ones((2, 2), np.float32), np.ones((2, 3), np.float32))
    inputs = (np.arange(2), *arrays, ["good", "film"]) if has_ids else (["good", "film"], *arrays)
    return [(inputs, np.array([[1.5]]), f"v[{number}]") for number in range(3)]


def content_of(name: str, draw: random.Random) -> Any:
    """The content of a format's pickle, sometimes with parts taken out or exchanged."""
    content: Any = {"mult": mult_content, "mmsa": mmsa_content, "misa": lambda: items_content(True)}.get(
        name, lambda: dict.fromkeys(("train", "dev", "test"), items_content(False))
    )()
    if draw.random() < 0.5:
        content = exchanged(content, draw)
    return content


ODD_VALUES: tuple[Any, ...] = (None, 0, -1, 2**70, float("nan"), "", "x", b"\xff", [], {}, [[]], (), np.zeros(0), np.zeros((0, 5)), np.zeros((2, 2)))
ODD_ARRAYS: tuple[Any, ...] = (
    np.array(["a", "b"]), np.array([b"a"]), np.array([None, 1], dtype=object), np.array(1.0), np.full((3, 4, 3), np.nan),
    np.ones((3, 4), np.complex64),
    np.zeros((3, 4, 3), bool), np.ones((4, 4, 3)), np.ones((3, 4, 3), np.int8), np.zeros((3, 0, 3)),
    {"a": {"b": [1]}}, {1, 2}, [1, [2, [3]]],
)  # fmt: skip


def exchanged(value: Any, draw: random.Random, depth: int = 0) -> Any:
    """The value with a part of it exchanged."""
    if depth > 4 or draw.random() < 0.25 or not isinstance(value, (dict, list, tuple)) or not value:
        return draw.choice(ODD_VALUES + ODD_ARRAYS)
    if isinstance(value, dict):
        key = draw.choice(list(value))
        if draw.random() < 0.2:
            return {other: entry for other, entry in value.items() if other != key}
        return {**value, key: exchanged(value[key], draw, depth + 1)}
    items = list(value)
    place = draw.randrange(len(items))
    items[place] = exchanged(items[place], draw, depth + 1)
    return items if isinstance(value, list) else tuple(items)


# Changes ----------------------------------------------------------------------------------------------------------


def damaged(raw: bytes, draw: random.Random) -> bytes:
    """The bytes with a few changes: bits, numbers, pieces that are cut, doubled or moved."""
    content = bytearray(raw)
    for _ in range(draw.choice((0, 1, 1, 1, 2, 4, 16))):
        if not content:
            break
        place = draw.randrange(len(content))
        kind = draw.randrange(7)
        if kind == 0:
            content[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            content[place] = draw.randrange(256)
        elif kind == 2:
            del content[place : place + draw.choice((1, 2, 8, 64, 1024))]
        elif kind == 3:
            content[place:place] = content[place : place + draw.choice((1, 2, 8, 64))] * draw.choice((1, 2, 50))
        elif kind == 4:
            content[place : place + 4] = struct.pack("<I", draw.choice((0, 1, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1)))
        elif kind == 5:
            content[place : place + 8] = struct.pack("<Q", draw.choice((0, 2**32, 2**40, 2**63 - 1, 2**64 - 1)))
        else:
            del content[place:]
    return bytes(content)


OPCODES = (
    *(b"(", b")", b"]", b"}", b"\x8f", b"N", b"\x88", b"K\x01", b"M\x01\x02", b"G\x00\x00\x00\x00\x00\x00\x00\x00", b"\x85", b"\x86", b"\x87"),
    *(b"t", b"l", b"d", b"a", b"e", b"s", b"u", b"\x90", b"\x91", b"0", b"1", b"2", b"\x94", b"q\x00", b"h\x00", b"q\x01", b"h\x01", b"R", b"b"),
    *(b"X\x01\x00\x00\x00a", b"C\x02ab", b"\x8c\x05numpy", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n"),
    *(b"c_codecs\nencode\n", b"ccollections\nOrderedDict\n", b"cbuiltins\nset\n", b"cbuiltins\nfrozenset\n", b"cbuiltins\nbytearray\n", b"\x93"),
    *(b"cbuiltins\ncomplex\n", b"cnumpy.core.multiarray\nscalar\n", b"cnumpy.core.numeric\n_frombuffer\n", b"I12\n", b"L99999999999999999999L\n"),
    *(b"F1e400\n", b"S'a\\\\d'\n", b"V\\u0041\n", b"U\x02f4", b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"Q", b"\x81", b"\x8d\xff\xff"),
)


def program(draw: random.Random) -> bytes:
    """A made-up pickle."""
    parts = [draw.choice(OPCODES) * draw.choice((1, 1, 1, 1, 2, 30, 3000)) for _ in range(draw.randrange(1, 40))]
    return b"\x80\x02" + b"".join(parts) + b"."


def pickled(name: str) -> Make:
    """A maker of a format's pickles."""

    def make(draw: random.Random, folder: Path) -> Path:
        path = folder / "train.pkl"  # MISA's name tells its split
        kind = draw.random()
        if kind < 0.3:
            path.write_bytes(program(draw))
        else:
            raw = pickle.dumps(content_of(name, draw), protocol=draw.choice((0, 2, 4, 5)))
            path.write_bytes(damaged(raw, draw) if kind < 0.8 else raw)
        return path

    return make


def torch_file(draw: random.Random, folder: Path) -> Path:
    """A file of torch.save."""
    import torch

    path = folder / "data.pt"
    is_zip = draw.random() < 0.6
    content = {split: {name: torch.ones(2, 3) for name in ("text", "labels")} for split in ("train", "test")}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    if is_zip and draw.random() < 0.6:
        with zipfile.ZipFile(path) as archive:
            parts = {member.filename: archive.read(member) for member in archive.infolist()}
        with zipfile.ZipFile(path, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for name, raw in parts.items():
                is_changed = name.endswith(".pkl") or draw.random() < 0.1
                archive.writestr(name, (program(draw) if draw.random() < 0.3 else damaged(raw, draw)) if is_changed else raw)
    else:
        path.write_bytes(damaged(path.read_bytes(), draw))
    return path


def npz_file(draw: random.Random, folder: Path) -> Path:
    """An npz of arrays."""
    path = folder / "data.npz"
    arrays: dict[str, Any] = {
        "id": np.array(["a", "b", "c"]),
        "split": np.array(["train", "valid", "test"]),
        "label": np.zeros(3),
        "text": np.ones((3, 4, 2), np.float32),
        "audio": np.ones((3, 2), np.float32),
    }
    if draw.random() < 0.4:
        arrays[draw.choice(list(arrays))] = draw.choice([value for value in ODD_VALUES + ODD_ARRAYS if isinstance(value, np.ndarray)])
    (np.savez_compressed if draw.random() < 0.5 else np.savez)(path, **arrays)
    if draw.random() < 0.4:
        with zipfile.ZipFile(path) as archive:
            parts = {member.filename: archive.read(member) for member in archive.infolist()}
        changed = draw.choice(list(parts))
        with zipfile.ZipFile(path, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for name, raw in parts.items():
                archive.writestr(name, damaged(raw, draw) if name == changed else raw)
    else:
        path.write_bytes(damaged(path.read_bytes(), draw))
    return path


def arrays_folder(draw: random.Random, folder: Path) -> Path:
    """A folder of arrays."""
    table = b"id,split,label,text,start,end\na,train,1.5,it was,0,1\nb,valid,-1,,1,2\nc,test,0,ok,2,3\n"
    (folder / "labels.csv").write_bytes(damaged(table, draw) if draw.random() < 0.5 else table)
    (folder / "audio").mkdir(exist_ok=True)
    for name in "abc":
        path = folder / "audio" / f"{name}.npy"
        np.save(path, np.ones((3, 2), np.float32))
        if draw.random() < 0.4:
            path.write_bytes(damaged(path.read_bytes(), draw))
    return folder


def table_file(draw: random.Random, folder: Path) -> Path:
    """A table of transcripts."""
    path = folder / "data.csv"
    path.write_bytes(damaged(b'id,split,group,text,label,start,end\na,train,v,"it, was",1.5,0,1\nb,dev,w,good,-1,1,2\nc,test,x,ok,0,2,3\n', draw))
    return path


def labels_file(draw: random.Random, folder: Path) -> Path:
    """A table of labels for videos."""
    path = folder / "labels.csv"
    raw = b"file,start,end,label,split,text\na.wav,0,1,1.5,train,it\nb.wav,00:00:01,2,-1,dev,\nc,2,3,0,test,ok\n"
    if draw.random() < 0.3:
        raw = b"Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season\n1,it,A,joy,positive,0,1,2\n"
    path.write_bytes(damaged(raw, draw))
    return path


def csd_folder(draw: random.Random, folder: Path) -> Path:
    """A folder of .csd files."""
    import h5py

    for name, rows in (("words", np.array([[b"good"], [b"film"]])), ("COVAREP", np.ones((2, 3), np.float32)), ("labels", np.array([[1.0], [2.0]]))):
        path = folder / f"{name}.csd"
        with h5py.File(path, "w") as file:
            for video in "abc":
                file[f"{name}/data/{video}/features"] = rows
                file[f"{name}/data/{video}/intervals"] = np.array([[0.0, 1.0], [1.0, 2.0]])
            file[f"{name}/metadata/dimension names"] = json.dumps(["sentiment"])
        if draw.random() < 0.5:
            path.write_bytes(damaged(path.read_bytes(), draw))
    folds = b'{"train": ["a"], "valid": ["b"], "test": ["c"]}'
    (folder / "folds.json").write_bytes(damaged(folds, draw) if draw.random() < 0.2 else folds)
    return folder


def vectors_file(draw: random.Random, folder: Path) -> Path:
    """Word vectors."""
    if draw.random() < 0.5:
        path = folder / "vectors.npz"
        np.savez(path, words=np.array(["good", "film"]), vectors=np.ones((2, 3), np.float32))
    else:
        path = folder / "vectors.txt"
        path.write_bytes(b"good 1 2 3\nfilm 4 5 6\n")
    path.write_bytes(damaged(path.read_bytes(), draw))
    return path


_WHOLE: dict[str, dict[str, bytes]] = {}


def checkpoint_folder(draw: random.Random, folder: Path) -> Path:
    """A checkpoint."""
    if "checkpoint" not in _WHOLE:
        from multigrain.models import build_model
        from multigrain.schema import FeatureSpec, Task

        features = {"text": FeatureSpec(dim=4), "audio": FeatureSpec(dim=3), "vision": FeatureSpec(dim=2)}
        build_model("mult", {"width": 4, "num_heads": 2, "num_layers": 1, "num_summary_layers": 1}, Task(), features).save_pretrained(folder)
        _WHOLE["checkpoint"] = {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}
    for name, raw in _WHOLE["checkpoint"].items():
        (folder / name).write_bytes(raw)
    kind = draw.random()
    if kind < 0.5:
        values = json.loads(_WHOLE["checkpoint"]["config.json"])
        for _ in range(draw.choice((1, 1, 2))):
            place: Any = values
            while True:
                key = draw.choice(list(place))
                if isinstance(place[key], dict) and place[key] and draw.random() < 0.8:
                    place = place[key]
                    continue
                place[key] = draw.choice(
                    (None, 0, -1, 1, 2, 3, 7, 10**5, 10**9, 2**70, 0.5, 1e300, float("nan"), "", "x", [], {}, [1], True, ["text"])
                )
                break
        (folder / "config.json").write_text(json.dumps(values))
    elif kind < 0.7:
        (folder / "config.json").write_bytes(damaged(_WHOLE["checkpoint"]["config.json"], draw))
    else:
        (folder / "model.safetensors").write_bytes(damaged(_WHOLE["checkpoint"]["model.safetensors"], draw))
    return folder


def state_file(draw: random.Random, folder: Path) -> Path:
    """A resume state."""
    import torch

    path = folder / "checkpoints" / "last" / "state.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    if "state" not in _WHOLE:
        torch.save({"progress": {"epoch": 1}, "model": {"w": torch.ones(3)}, "optimizer": {}, "precision": {}}, path)
        _WHOLE["state"] = {"state.pt": path.read_bytes()}
    path.write_bytes(damaged(_WHOLE["state"]["state.pt"], draw))
    return folder


# Readers ----------------------------------------------------------------------------------------------------------


def read_format(name: str, **options: Any) -> Read:
    """Reads a source through to its last utterance."""

    def read(path: Path) -> None:
        from multigrain.data.readers import READERS, ReadOptions

        given = {key: path / value if isinstance(value, Path) else value for key, value in options.items()}
        for _ in READERS[name].read(path, ReadOptions(**given)).utterances:
            pass

    return read


def read_pickle(path: Path) -> None:
    """Reads a pickle or torch file alone."""
    from multigrain.data.safe_pickle import load

    load(path)


def read_labels_table(path: Path) -> None:
    """Reads a table of labels for three videos."""
    from multigrain.video.labels import read_labels

    read_labels(path, [Path(f"/v/{name}.wav") for name in "abc"])


def read_vectors(path: Path) -> None:
    """Reads word vectors."""
    from multigrain.data.readers.word_vectors import load_word_vectors

    load_word_vectors(path, {"good", "film"})


def read_checkpoint(path: Path) -> None:
    """Builds a checkpoint's model."""
    from multigrain.models import load

    load(str(path))


def read_state(path: Path) -> None:
    """Reads a resume state."""
    from multigrain.training.run_folder import RunFolder

    RunFolder(path).load_last()


FORMATS: dict[str, tuple[Make, Read, float]] = {
    "pickle (MulT)": (pickled("mult"), read_format("mult"), 3),
    "pickle (MMSA)": (pickled("mmsa"), read_format("mmsa"), 2),
    "pickle (MISA)": (pickled("misa"), read_format("misa", splits=("train",)), 1.5),
    "pickle (MAG)": (pickled("mag"), read_format("mag"), 1.5),
    "torch file": (torch_file, read_pickle, 1.5),
    "npz": (npz_file, read_format("arrays"), 2),
    "folder of arrays": (arrays_folder, read_format("arrays"), 1),
    "csd": (csd_folder, read_format("csd", folds_file=Path("folds.json"), aligned=False), 0.7),
    "table of transcripts": (table_file, read_format("transcripts"), 2),
    "table of labels": (labels_file, read_labels_table, 2),
    "word vectors": (vectors_file, read_vectors, 1),
    "checkpoint": (checkpoint_folder, read_checkpoint, 1),
    "resume state": (state_file, read_state, 0.7),
}
"""Maker, reader, and share of the inputs."""


# Running ----------------------------------------------------------------------------------------------------------


def import_all() -> None:
    """Imports everything that is read with, before children are forked and limited."""
    import h5py  # noqa: F401
    import torch  # noqa: F401

    import multigrain.data.readers
    import multigrain.data.readers.word_vectors
    import multigrain.models.checkpoint
    import multigrain.training.run_folder
    import multigrain.video.labels  # noqa: F401


def child(name: str, seeds: list[int], pipe: Any) -> None:
    """Reads one input after another and tells what came of each."""
    import warnings

    import torch

    from multigrain.errors import MultigrainError

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    make, read, _ = FORMATS[name]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    for seed in seeds:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        try:
            path = make(random.Random(seed), folder)
            pipe.send(("begun", seed, str(folder)))
            start = time.process_time()
            try:
                read(path)
                outcome, text = "read", ""
            except MultigrainError as error:
                outcome, text = ("refused", "") if "\n\n" not in str(error) else ("several lines", str(error))
            except BaseException:
                outcome, text = "traceback", traceback.format_exc()
            pipe.send(("done", seed, outcome, text, time.process_time() - start))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    pipe.send(("end", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def run_format(name: str, count: int, first_seed: int, kept: Path) -> tuple[Counter[str], float, int]:
    """Reads the inputs of a format; gives the outcomes, the longest time of one, and the highest memory in KB."""
    outcomes: Counter[str] = Counter()
    longest, memory = 0.0, 0
    context = multiprocessing.get_context("fork")
    seeds = list(range(first_seed, first_seed + count))
    while seeds:
        ours, theirs = context.Pipe()
        process = context.Process(target=child, args=(name, seeds[:BATCH], theirs), daemon=True)
        process.start()
        theirs.close()
        begun, deadline = None, time.monotonic() + 300
        while True:
            if not ours.poll(max(0.0, deadline - time.monotonic())):
                outcome, text = "hang", f"more than {SECONDS_EACH * 12} s on the clock"
                break
            try:
                message = ours.recv()
            except EOFError:
                process.join()
                outcome, text = "crash", f"exit code {process.exitcode}"
                break
            if message[0] == "begun":
                begun, deadline = message[1], time.monotonic() + SECONDS_EACH * 12  # other processes share the machine
            elif message[0] == "done":
                _, seed, outcome, text, seconds = message
                longest = max(longest, seconds)
                outcome = "slow" if seconds > SECONDS_EACH else outcome
                outcomes[outcome] += 1
                if outcome not in ("read", "refused"):
                    keep(kept, name, seed, outcome, text)
                seeds.remove(seed)
            else:
                memory, outcome = max(memory, message[1]), ""
                break
        process.kill()
        process.join()
        if outcome in ("hang", "crash") and begun in seeds:
            outcomes[outcome] += 1
            keep(kept, name, begun, outcome, text)
            seeds.remove(begun)
    return outcomes, longest, memory


def keep(kept: Path, name: str, seed: int, outcome: str, text: str) -> None:
    """Notes an input that was neither read nor refused."""
    with kept.open("a") as file:
        file.write(f"=== {name}, seed {seed}: {outcome}\n{text}\n")


def main() -> None:
    """Runs all formats."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=80_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS))
    parser.add_argument("--log", type=Path, default=Path("fuzz.log"))
    given = parser.parse_args()
    import_all()
    total, bad = 0, 0
    shares = sum(FORMATS[name][2] for name in given.formats)
    for name in given.formats:
        start = time.monotonic()
        count = round(given.inputs * FORMATS[name][2] / shares)
        outcomes, longest, memory = run_format(name, count, given.seed, given.log.with_suffix(".kept"))
        total, bad = total + count, bad + sum(outcomes[kind] for kind in outcomes if kind not in ("read", "refused"))
        if not outcomes["read"] and count >= BATCH:  # what is refused at the door says nothing of the rooms behind it
            bad, outcomes["NOTHING was read"] = bad + 1, 1
        said = ", ".join(f"{count} {kind}" for kind, count in sorted(outcomes.items()))
        line = f"{name}: {count} inputs: {said}; longest {longest:.2f} s, memory {memory >> 10} MB, {time.monotonic() - start:.0f} s in all"
        print(line, flush=True)
        with given.log.open("a") as file:
            file.write(line + "\n")
    line = f"{total} inputs, {bad} neither read nor refused"
    print(line)
    with given.log.open("a") as file:
        file.write(line + "\n")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
