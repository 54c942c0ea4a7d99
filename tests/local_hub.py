"""A hub on this machine, as far as huggingface_hub asks: one repository with files, or silence."""

import contextlib
import hashlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "1" * 40


@contextlib.contextmanager
def answering_hub(repository: str, files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Its address, and the names of the files that were fetched."""
    fetched: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if self.path.startswith(f"/api/models/{repository}/tree/"):
                rows = [{"type": "file", "path": name, "size": len(content), "oid": _oid(content)} for name, content in files.items()]
                self._answer(200, json.dumps(rows).encode(), {"Content-Type": "application/json"})
            elif self.path.startswith(f"/api/models/{repository}"):
                siblings = [{"rfilename": name} for name in files]
                self._answer(200, json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}).encode(), {"Content-Type": "application/json"})
            elif (name := self.path.partition(f"/{repository}/resolve/{COMMIT}/")[2]) in files:
                if self.command == "GET":
                    fetched.append(name)
                self._answer(200, files[name], {"ETag": f'"{_oid(files[name])}"', "X-Repo-Commit": COMMIT})
            else:
                self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fetched
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def silent_hub() -> Iterator[str]:
    """The address of a hub that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
