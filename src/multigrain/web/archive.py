"""A job's files as one ZIP, made while it is sent: nothing is copied on the disk or held in memory."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

BLOCK_BYTES = 1024 * 1024


class _Outlet(io.RawIOBase):
    """Takes what `zipfile` writes, and gives it away."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, block: object) -> int:
        view = memoryview(block)  # type: ignore[arg-type]
        self._written += view
        return len(view)

    def take(self) -> bytes:
        block = bytes(self._written)
        self._written.clear()
        return block


def stream_zip(files: Mapping[str, Path]) -> Iterator[bytes]:
    """The ZIP's bytes, block by block.

    Args:
        files: name in the ZIP -> file; stored as they are, since videos do not compress.
    """
    outlet = _Outlet()
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files.items():
            entry = zipfile.ZipInfo.from_file(path, name)
            with path.open("rb") as source, archive.open(entry, "w") as target:
                while block := source.read(BLOCK_BYTES):
                    target.write(block)
                    yield outlet.take()
    yield outlet.take()
