"""Libraries of the extra `video`, imported where they are used, with a sentence where one is missing."""

import warnings
from importlib import import_module
from types import ModuleType

from multigrain.errors import VideoError


def import_part(name: str, purpose: str) -> ModuleType:
    """Imports a library of the extra `video`.

    Args:
        name: the module.
        purpose: what it is needed for, as the end of "is needed for".

    Raises:
        VideoError: it is not installed, or does not load on this machine.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what libraries say about their own dependencies is nothing that a user can mend
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0]:
            raise _does_not_load(name, purpose, error) from error
        hint = (
            " It has no build for Python 3.13 or later: use 3.11 or 3.12, or leave the face out (--no-faces, with_faces=False)."
            if name == "mediapipe"
            else ""
        )
        raise VideoError(f"{name} is needed for {purpose} and is not installed.{hint} Install it with: pip install 'multigrain[video]'") from error
    except ImportError as error:  # a library of the system is missing
        raise _does_not_load(name, purpose, error) from error


def _does_not_load(name: str, purpose: str, error: ImportError) -> VideoError:
    return VideoError(
        f"{name} is needed for {purpose} and is installed, but it does not load on this machine: {error}. Where a library such as libGL.so.1 or "
        "libEGL.so.1 is missing, install it with the system's package manager (Debian: apt install libgl1 libegl1 libgles2)."
    )
