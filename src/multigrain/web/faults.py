"""What goes wrong beneath the server, and is nobody's request's fault: a full disk, a database that does not answer."""

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from multigrain.web.database import first_line
from multigrain.web.disk import DISK_FULL, is_disk_full
from multigrain.web.refusal import Refusal

RETRY_SECONDS = 5
DATABASE_AWAY = "The server's database does not answer: another program holds it, or it is not to be reached. Nothing was changed."
_SQLITE_PRIMARY = 0xFF
_POSTGRES_DISK_FULL = "53100"


def refusal_of(error: BaseException) -> Refusal | None:
    """The answer to a request that ran into it; None for any other error."""
    if is_disk_full(error) or _is_database_full(error):
        return Refusal(507, DISK_FULL)
    if isinstance(error, SQLAlchemyError):
        return Refusal(503, f"{DATABASE_AWAY} Try again in {RETRY_SECONDS} s.", {"Retry-After": str(RETRY_SECONDS)})
    return None


def sentence_of(error: BaseException) -> str:
    """What it is, in a sentence for people: without names of types' insides, paths or what a library says of itself, which are for the log."""
    if is_disk_full(error) or _is_database_full(error):
        return DISK_FULL
    if isinstance(error, SQLAlchemyError):
        return f"its database does not answer ({first_line(error)})."
    if isinstance(error, OSError) and error.strerror:
        return f"its system did not let it ({error.strerror})."
    return f"it ran into a fault of the program ({type(error).__name__})."


def _is_database_full(error: BaseException) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) & _SQLITE_PRIMARY == sqlite3.SQLITE_FULL
    return getattr(error.orig, "sqlstate", None) == _POSTGRES_DISK_FULL
