"""Peak memory of converting a made MulT pickle of 2 GB, against its largest array.

    python benchmarks/conversion_memory.py [--gigabytes 2] [--folder /tmp]

The pickle (protocol 4) has the widths of MOSEI, unaligned. It is written array by array from files, and converted
in a process of its own, which reports its peak resident memory (VmHWM: its own memory and the pages of files that it
had mapped at that moment), the peak of its own (anonymous) memory, and both as they were before the conversion.
"""

import argparse
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

STEPS_AND_DIMS = {"text": (50, 300), "audio": (500, 74), "vision": (500, 35)}
SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}
ROW_BYTES = sum(steps * dim * 4 for steps, dim in STEPS_AND_DIMS.values())


def write_pickle(folder: Path, gigabytes: float) -> tuple[Path, int]:
    """Writes the pickle; returns its path and the bytes of the largest array."""
    num_rows = int(gigabytes * 1e9 / ROW_BYTES)
    data: dict[str, dict[str, np.ndarray]] = {}
    for split, share in SHARES.items():
        count = int(num_rows * share)
        data[split] = {"labels": np.random.default_rng(0).uniform(-3, 3, size=(count, 1, 1))}
        for modality, (steps, dim) in STEPS_AND_DIMS.items():
            array = np.memmap(folder / f"{split}.{modality}.raw", dtype=np.float32, mode="w+", shape=(count, steps, dim))
            generator = np.random.default_rng(1)
            block = generator.normal(size=(100, steps, dim)).astype(np.float32)
            for start in range(0, count, 100):
                rows = array[start : start + 100]
                rows[:] = block[: len(rows)]
                rows[:, : steps // 2] = 0
            data[split][modality] = np.asarray(array)
    path = folder / "made_data_noalign.pkl"
    with path.open("wb") as file:
        pickle.dump(data, file, protocol=4)
    largest = max(array.nbytes for table in data.values() for array in table.values())
    del data
    for raw in folder.glob("*.raw"):
        raw.unlink()
    return path, largest


def convert_and_measure(source: Path, store: Path) -> dict[str, float]:
    """Converts in this process and returns its figures in bytes and seconds."""
    from multigrain.data.convert import convert

    before = {"peak_before": status("VmHWM"), "own_before": status("RssAnon")}
    own_peak, is_done = 0, threading.Event()

    def watch() -> None:
        nonlocal own_peak
        while not is_done.is_set():
            own_peak = max(own_peak, status("RssAnon"))
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    convert("mult", source, store)
    seconds = time.perf_counter() - start
    is_done.set()
    watcher.join()
    return {**before, "peak": status("VmHWM"), "own_peak": own_peak, "seconds": seconds}


def status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, default=None, help="where the files are made and deleted again")
    parser.add_argument("--measure", nargs=2, type=Path, metavar=("SOURCE", "STORE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(convert_and_measure(*arguments.measure)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        source, largest = write_pickle(Path(folder), arguments.gigabytes)
        command = [sys.executable, __file__, "--measure", str(source), str(Path(folder) / "made.store")]
        figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        size = source.stat().st_size
    rows = {
        "pickle": size,
        "largest array": largest,
        "peak resident (VmHWM)": figures["peak"],
        "  before converting": figures["peak_before"],
        "peak own memory (RssAnon)": figures["own_peak"],
        "  before converting, own": figures["own_before"],
    }
    for name, value in rows.items():
        print(f"{name:28s} {value / 1e6:10.1f} MB   {value / largest:6.2f} x largest array")
    print(f"{'seconds':28s} {figures['seconds']:10.1f}      {size / figures['seconds'] / 1e6:6.0f} MB/s")


if __name__ == "__main__":
    main()
