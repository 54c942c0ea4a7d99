"""What a download often brings in place of a data set, known by its first bytes."""

from pathlib import Path

from multigrain.errors import DataError

_LFS = b"version https://git-lfs.github.com"
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")


def check_start(path: Path) -> None:
    """Looks whether a file is what stands for it: the pointer of Git LFS, or a web page.

    Raises:
        DataError: it is.
    """
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith(_LFS):
        raise DataError(
            f"{path} is no data but the pointer that Git LFS keeps in its place. Run `git lfs pull` in that repository, or download the file itself."
        )
    if start.startswith(_PAGES):
        raise DataError(
            f"{path} is a web page and not a data set: the download brought the page of a file, or a request to log in. Open it to see, and download "
            "the file itself."
        )
