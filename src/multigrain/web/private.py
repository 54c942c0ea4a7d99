"""Folders that are their owner's alone, also those that were there before."""

import logging
import os
import stat
from pathlib import Path

from multigrain.errors import ServerError

logger = logging.getLogger(__name__)

OWNER_ONLY = 0o700


def make_private(folder: Path) -> None:
    """Makes a folder, or closes one that is there to everybody but its owner.

    Raises:
        ServerError: it is somebody else's, or one that others need.
        OSError: it cannot be made or changed.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise ServerError(
            f"The folder {folder} belongs to another user (number {status.st_uid}; this server runs as {os.geteuid()}), who could read and change "
            "what it keeps. Name a folder of your own with --data, or give this one to the server's user with chown."
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode == OWNER_ONLY:
        return
    if mode & stat.S_ISVTX or folder.resolve() in (Path("/"), Path.home().resolve()):
        raise ServerError(
            f"The folder {folder} is for more than a server's data, and would have to be closed to everybody else (it has mode {mode:o}). "
            f"Name a folder within it with --data, such as {folder / 'analyses'}."
        )
    folder.chmod(OWNER_ONLY)
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        logger.warning("%s stays open to other users of this machine: its file system does not keep modes. Name another folder with --data.", folder)
    elif mode & 0o077:
        logger.warning("%s could be read by other users of this machine (mode %o); it is its owner's alone now.", folder, mode)
