"""Many analyses submitted at once: do all finish, is none lost, and does the server answer meanwhile?

Starts `multigrain serve` on a free port with its data in a temporary folder, submits `--count` analyses at the same moment (texts of three
utterances; with videos, every other one is a video), and asks for the status of one of them, and for the list, over and over until all have ended.
Prints a table; exits with 1 where an analysis failed or was lost, or where an answer took longer than the limit.

    python benchmarks/serve_load.py [--count 50] [--video CLIP...] [--checkpoint RUN] [--workers 2]

Videos are taken in turn, the words of GRID clips (`grid_*.mpg`, which their names spell) are sent with them.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multigrain.benchmark.grid import words_of_grid_clip

LIMIT_SECONDS = 0.2
ASK_EVERY_SECONDS = 0.02
ENDED = ("done", "failed", "cancelled")
TEXT = "I really enjoyed the first half of this film.\nThe ending was a letdown, and far too long.\nStill, number {number} is worth seeing."


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[dict[str, Any], float]:
    """The answer, and how long it took."""
    start = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    seconds = time.perf_counter() - start
    if answer.status != 200:
        raise SystemExit(f"{path} was answered with {answer.status}: {body.decode()}")
    return json.loads(body), seconds


def form(number: int, videos: Sequence[Path]) -> tuple[bytes, str]:
    """A submission as multipart/form-data, and its content type."""
    boundary = uuid.uuid4().hex
    parts: list[tuple[str, str, bytes]] = []
    if videos and number % 2:
        video = videos[number // 2 % len(videos)]
        parts.append(("video", f'; filename="{number} {video.name}"', video.read_bytes()))
        if video.name.startswith("grid_"):
            parts.append(("text", "", words_of_grid_clip(video).encode()))
    else:
        parts.append(("text", "", TEXT.format(number=number).encode()))
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'.encode() + content + b"\r\n"
        for name, filename, content in parts
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def submit_all(host: str, count: int, videos: Sequence[Path]) -> tuple[list[str], list[float]]:
    """Submits everything at the same moment; the names that were answered, and how long each answer took."""
    together, names, times = threading.Barrier(count), [], []

    def submit(number: int) -> None:
        body, kind = form(number, videos)
        connection = http.client.HTTPConnection(host, timeout=120)
        connection.connect()
        together.wait()
        start = time.perf_counter()
        connection.request("POST", "/api/analyses", body, {"Content-Type": kind})
        answer = connection.getresponse()
        values = json.loads(answer.read())
        times.append(time.perf_counter() - start)
        if answer.status == 202:
            names.append(values["id"])
        else:
            print(f"Submission {number} was answered with {answer.status}: {values}", file=sys.stderr)
        connection.close()

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return names, times


def watch(host: str, stop: threading.Event, seconds: dict[str, list[float]], longest_wait: float) -> None:
    """Asks for the list once a second, as the page does, and between for the status of the newest analysis, until it is told to stop."""
    connection = http.client.HTTPConnection(host, timeout=60)
    end, next_list, newest = time.monotonic() + longest_wait, 0.0, None
    while not stop.is_set() and time.monotonic() < end:
        if time.monotonic() >= next_list:
            listed, taken = ask(connection, "/api/analyses?limit=200")
            seconds["list"].append(taken)
            newest, next_list = listed["analyses"][0]["id"] if listed["analyses"] else newest, time.monotonic() + 1.0
        if newest:
            seconds["status"].append(ask(connection, f"/api/analyses/{newest}")[1])
        time.sleep(ASK_EVERY_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--video", type=Path, nargs="+", default=[])
    parser.add_argument("--checkpoint")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--longest", type=float, default=1800.0, help="seconds after which it gives up")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "multigrain", "serve", "--port", "0", "--data", folder, "--workers", str(options.workers)]
        command += ["--checkpoint", options.checkpoint] if options.checkpoint else []
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            host = server.stdout.readline().split("http://")[1].split()[0].rstrip(".")
            return measure(host, options)
        finally:
            server.terminate()
            server.wait(30)


def measure(host: str, options: argparse.Namespace) -> int:
    stop, seconds = threading.Event(), {"status": [], "list": []}
    watcher = threading.Thread(target=watch, args=(host, stop, seconds, options.longest))
    watcher.start()
    start = time.monotonic()
    names, submissions = submit_all(host, options.count, options.video)
    connection = http.client.HTTPConnection(host, timeout=60)
    while time.monotonic() - start < options.longest:
        listed, _ = ask(connection, "/api/analyses?limit=200")
        states = {one["id"]: one["state"] for one in listed["analyses"]}
        if all(states.get(name) in ENDED for name in names):
            break
        time.sleep(1.0)
    total = time.monotonic() - start
    stop.set()
    watcher.join()
    lost, failed = [name for name in names if name not in states], [one for one in listed["analyses"] if one["state"] != "done"]
    for one in failed[:3]:
        print(f"{one['title']} is {one['state']}: {one['error']}", file=sys.stderr)
    num_videos = options.count // 2 if options.video else 0
    print(f"{options.count} submitted at once ({options.count - num_videos} texts, {num_videos} videos), {options.workers} workers\n")
    print("| accepted | done | not done | lost | until all had ended | by analysis |\n| --- | --- | --- | --- | --- | --- |")
    done = len(states) - len(failed)
    print(f"| {len(names)} | {done} | {len(failed)} | {len(lost)} | {total:.1f} s | {total / options.count:.2f} s |\n")
    print("| answer | count | median | 99 % | longest |\n| --- | --- | --- | --- | --- |")
    for name, taken in (("submission", submissions), ("status", seconds["status"]), ("list", seconds["list"])):
        ordered = sorted(taken)
        late = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
        shown = " | ".join(f"{1000 * one:.1f} ms" for one in (statistics.median(ordered), late, ordered[-1]))
        print(f"| {name} | {len(ordered)} | {shown} |")
    is_prompt = max(seconds["status"]) < LIMIT_SECONDS
    print(f"\nstatus always under {1000 * LIMIT_SECONDS:.0f} ms: {'yes' if is_prompt else 'NO'}")
    return 0 if len(names) == options.count and not failed and not lost and is_prompt else 1


if __name__ == "__main__":
    sys.exit(main())
