"""Files and clients that mean harm, against the real command line and a real server: what was done, and what happened.

    python benchmarks/hostile.py [--checkpoint RUN] [--only files,storage,connections,clients,kills] [--folder /tmp]

Makes the files, gives each to `multigrain analyze`, all at once to `multigrain extract`, and each to a running `multigrain serve`; then sends 200
uploads at once, slow ones and broken ones, gives servers folders and databases that are not theirs, full disks and locked databases, holds their
connections, and kills a worker and the server in the middle of their work. Prints a table for each; exits with 1 where
something did not end as it must (`NOT SO` in the table). It takes some minutes: a slow upload is given up after one, and the gigabyte is real.
"""

import argparse
import signal
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hostile_connections import connections
from hostile_server import Row, RunningServer, run_command, verdict, wait_until
from hostile_storage import storage

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import hostile_files

GOOD_STATES = ("done", "failed", "cancelled")


# Files --------------------------------------------------------------------------------------------------------------


def files_on_the_command_line(cases: list[hostile_files.Case], folder: Path, checkpoint: list[str]) -> list[Row]:
    rows = []
    for case in cases:
        given = ["--transcript", str(case.transcript)] if case.transcript else []
        found = run_command(["analyze", str(case.video), *given, *checkpoint, "--report", str(folder / "report.html")], seconds=300)
        is_right = found.code == (0 if case.is_usable else 2) and "Traceback" not in found.errors and case.words in found.errors + found.output
        if case.is_usable:
            page = (folder / "report.html").read_text(encoding="utf-8")
            is_right = is_right and "<script>alert" not in page and "<img src=x" not in page
        rows.append((case.name, verdict(is_right, f"{found.seconds:.1f} s, {found.megabytes:.0f} MB, exit {found.code}: {found.last_paragraph}")))
    return rows


def a_batch(cases: list[hostile_files.Case], folder: Path) -> list[Row]:
    """All in one `multigrain extract`: each broken file is a line, and the others are done."""
    videos = list(dict.fromkeys(str(case.video) for case in cases if case.transcript is None))
    broken = {str(case.video) for case in cases if case.transcript is None and not case.is_usable}
    found = run_command(["extract", *videos, "--out", str(folder / "all.store"), "--workers", "2"], seconds=600)
    failed = found.errors.count("FAILED")
    is_right = found.code == 1 and failed == len(broken) and (folder / "all.store").is_dir()
    return [(f"`extract` of these {len(videos)} files in one batch", verdict(is_right, f"exit {found.code}, {failed} lines FAILED; {found.summary}"))]


def files_on_the_web(cases: list[hostile_files.Case], server: RunningServer) -> list[Row]:
    rows = []
    for case in cases:
        status, answer = server.upload(case.video, case.transcript, name=case.client_name)
        if status == 202:
            ended = server.wait(answer["id"])
            text = ended["error"] or "done"
            is_right = (ended["state"] == "done") == case.is_usable and "fault of the program" not in text and str(server.data) not in text
            if case.is_usable:
                page = server.get(f"/analyses/{answer['id']}/report.html")
                is_right = is_right and "<script>alert" not in page and "<img src=x" not in page
            rows.append((case.name, verdict(is_right, f"{ended['state']}: {text}" if ended["error"] else f"done, shown as {ended['title']!r}")))
        else:
            rows.append((case.name, verdict(not case.is_usable and 400 <= status < 500, f"{status}: {answer['error']}")))
    return rows


# Clients ------------------------------------------------------------------------------------------------------------


def path_tricks(server: RunningServer, video: Path) -> Row:
    names = ["../../../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/shadow", "a\x00b.mp4", "CON", ".", "..", "x" * 5000 + ".mp4", "%2e%2e%2fx"]
    answers = [server.upload(video, None, name=name) for name in names]
    titles = [answer.get("title", "") for _, answer in answers]
    strange = sorted({path.name for path in server.data.glob("jobs/*/*")} - {"video.mp4", "request.json", "text.txt", *hostile_files.OURS})
    for _, answer in answers:
        server.post(f"/api/analyses/{answer.get('id')}/cancel")
    refused = [f"{status}: {answer['error']}" for status, answer in answers if status != 202]
    is_right = not strange and all(status in (202, 400) for status, _ in answers) and not any("/" in title or "\\" in title for title in titles)
    what = f"stored as video.mp4, shown as {', '.join(title for title in titles if title)}; the longest {' '.join(refused)}"
    return f"{len(names)} path tricks as names", verdict(is_right, what)


def disconnects(server: RunningServer, video: Path) -> Row:
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: server.begin_upload(video).close(), range(20)))
    is_empty = wait_until(lambda: not list((server.data / "incoming").iterdir()), 10)
    what = f"what they sent is {'gone' if is_empty else 'still there'}; health {server.health()}"
    return "20 clients that go away in mid-upload", verdict(is_empty, what)


def slow_uploads(server: RunningServer, video: Path, rows: list[Row]) -> list[threading.Thread]:
    """In threads, since they take a minute; the rows come when they have ended."""

    def silent() -> None:
        status, sentence, seconds = server.slow_upload(video, pause_seconds=None)
        rows.append(("an upload that stands still", verdict(status == 408, f"{status} after {seconds:.0f} s: {sentence}")))

    def trickling() -> None:
        status, sentence, seconds = server.slow_upload(video, pause_seconds=2.0)
        rows.append(("an upload of a byte every 2 s", verdict(status == 408, f"{status} after {seconds:.0f} s: {sentence}")))

    threads = [threading.Thread(target=silent), threading.Thread(target=trickling)]
    for thread in threads:
        thread.start()
    return threads


def two_hundred_uploads(server: RunningServer, sound: Path) -> tuple[Row, list[str]]:
    """Returns also the names of those that were accepted."""
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda number: server.upload(sound, None, name=f"{number}.wav", text="it was so good"), range(200)))
    counts = {status: sum(found == status for found, _ in answers) for status, _ in answers}
    taken = [answer["id"] for status, answer in answers if status == 202]
    refused = next((answer["error"] for status, answer in answers if status == 429), "")
    is_right = set(counts) <= {202, 429} and bool(taken) and set(taken) <= {one["id"] for one in server.list()}
    shown = ", ".join(f"{count} times {status}" for status, count in sorted(counts.items()))
    return ("200 uploads at once", verdict(is_right, f"{shown} ({refused}); health {server.health()}")), taken


# Kills --------------------------------------------------------------------------------------------------------------


def killed_worker(server: RunningServer, video: Path) -> Row:
    _, answer = server.upload(video, None, name="worker killed.mp4")
    wait_until(lambda: server.status(answer["id"])["state"] == "running", 120)
    killed = server.kill_workers()
    ended = server.wait(answer["id"])
    return "kill -9 of the workers in mid-job", verdict(ended["state"] == "done", f"{killed} killed; the job was tried again and is {ended['state']}")


def killed_server(server: RunningServer, taken: list[str], longest: float) -> Row:
    wait_until(lambda: any(one["state"] == "running" for one in server.list()), 120)
    before = {one["id"]: one["state"] for one in server.list()}
    orphans = server.kill_and_restart()
    wait_until(lambda: all(one["state"] in GOOD_STATES for one in server.list()), longest)
    after = {one["id"]: one["state"] for one in server.list()}
    lost, not_done = [name for name in before if name not in after], [name for name in taken if after.get(name) != "done"]
    running, waiting = (sum(state == wanted for state in before.values()) for wanted in ("running", "queued"))
    what = f"{running} ran and {waiting} waited; workers left over {orphans}; after the next start {len(lost)} lost, {len(not_done)} not done"
    return "kill -9 of the server in mid-job", verdict(not lost and not not_done and not orphans and running > 0, what)


def print_table(title: str, rows: list[Row]) -> int:
    print(f"\n| {title} | what happened |\n| --- | --- |")
    for what, happened in rows:
        print(f"| {what} | {happened.replace('|', '¦')} |")
    sys.stdout.flush()
    return sum(happened.startswith("NOT SO") for _, happened in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint")
    parser.add_argument("--only", default="files,storage,connections,clients,kills")
    parser.add_argument("--folder", type=Path, default=None, help="where the temporary folder is made")
    parser.add_argument("--longest", type=float, default=900.0, help="seconds after which waiting for the queue is given up")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server and the folder go too
    parts, wrong = options.only.split(","), 0
    checkpoint = ["--checkpoint", options.checkpoint] if options.checkpoint else []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        cases = hostile_files.write_cases(folder, writes_gigabyte="files" in parts)
        good, sound = folder / "good.mp4", hostile_files.write_sound(folder / "sound.wav")
        if "files" in parts:
            wrong += print_table("`multigrain analyze` of", files_on_the_command_line(cases, folder, checkpoint))
            wrong += print_table("`multigrain extract`", a_batch(cases, folder))
        if "storage" in parts:
            wrong += print_table("folders, database and disk of `multigrain serve`", storage(folder, checkpoint))
        if "connections" in parts:
            wrong += print_table("connections of `multigrain serve`", connections(folder, checkpoint, sound))
        with RunningServer(folder / "data", checkpoint) as server:
            rows: list[Row] = []
            if "clients" in parts:
                rows += [path_tricks(server, good), disconnects(server, good)]
            threads = slow_uploads(server, good, rows) if "clients" in parts else []
            if "files" in parts:
                wrong += print_table("uploaded to `multigrain serve`", files_on_the_web(cases, server))
            taken: list[str] = []
            kills = [killed_worker(server, good)] if "kills" in parts else []
            for thread in threads:
                thread.join()
            if "clients" in parts:
                row, taken = two_hundred_uploads(server, sound)
                wrong += print_table("clients of `multigrain serve`", [*rows, row])
            elif "kills" in parts:
                taken = [server.upload(good, None, name=f"{number}.mp4")[1]["id"] for number in range(4)]
            if "kills" in parts:
                wrong += print_table("kills", [*kills, killed_server(server, taken, options.longest)])
            print(f"\nThe server's own memory at the end: {server.megabytes():.0f} MB. Not as it must be: {wrong}.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
