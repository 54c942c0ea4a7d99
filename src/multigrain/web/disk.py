"""A disk without room: how it shows, and what people are told."""

import errno

DISK_FULL = "The server's disk is full. Delete analyses that are no longer needed, or ask who runs the server to make room."


def is_disk_full(error: BaseException) -> bool:
    """Whether it says that a disk, or this user's share of it, has no room left."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
