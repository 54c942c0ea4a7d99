"""A connection that does nothing is closed, and those of clients who have not shown the token cannot keep others out.

uvicorn itself waits for a first request, for the end of a request's head, and for a client that has stopped reading, for ever.
"""

import asyncio
import socket
import struct
from collections import Counter
from typing import Any
from weakref import WeakKeyDictionary

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEAD_SECONDS = 15.0
WRITE_SECONDS = 60.0
MOST_CONNECTIONS = 1000
"""More at a time are answered that there are too many."""
MOST_STRANGERS = 400
"""Connections that have not shown the token; another one closes the oldest of the address that has the most. A client that shows it is let in
within milliseconds, so that it is hardly ever the one."""
LET_IN, CONNECTION = "multigrain.is_let_in", "multigrain.connection"

_strangers: "WeakKeyDictionary[ServerState, dict[PatientConnection, str]]" = WeakKeyDictionary()
"""Of each server in this process, oldest first, with their addresses."""


class PatientConnection(H11Protocol):
    """HTTP/1.1, with patience for a request's head of once to twice HEAD_SECONDS, and for a client that reads nothing of WRITE_SECONDS.

    Bodies have limits of their own (uploads.py, pages.py).
    """

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None) -> None:
        super().__init__(config, server_state, {**app_state, CONNECTION: self}, _loop)
        self._strangers = _strangers.setdefault(server_state, {})
        self._unread, self._stuck_seconds, self._has_drained = 0, 0.0, False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begins to watch, and makes room where there are too many strangers."""
        super().connection_made(transport)
        self._seen: object = self
        self._watch()
        self._strangers[self] = self.client[0] if self.client else ""
        if len(self._strangers) > MOST_STRANGERS:
            crowded = Counter(self._strangers.values()).most_common(1)[0][0]
            oldest = next(one for one, address in self._strangers.items() if address == crowded)
            oldest.let_in()  # so that it is not chosen again before the loop has closed it
            oldest.give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends watching."""
        self._watcher.cancel()
        self.let_in()
        super().connection_lost(exc)

    def let_in(self) -> None:
        """The client has shown the token, or need not: it counts among the strangers no longer."""
        self._strangers.pop(self, None)

    @property
    def is_one_too_many(self) -> bool:
        """Whether the server holds more connections than it may."""
        return len(self.connections) > MOST_CONNECTIONS

    def give_up(self) -> None:
        """Ends the connection at once; what was not read is thrown away, by the system too, which would keep it as long as the client is there."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def resume_writing(self) -> None:
        """Called when the client has read again."""
        self._has_drained = True
        super().resume_writing()

    def _watch(self) -> None:
        """Closes the connection where the last look saw the same: no request, none after one that was answered, or an answer that nobody reads."""
        is_waiting = self.cycle is None or self.cycle.response_complete
        if is_waiting and self._seen is self.cycle:
            self.transport.close()
        self._seen = self.cycle
        self._watch_reading()
        self._watcher = self.loop.call_later(HEAD_SECONDS, self._watch)

    def _watch_reading(self) -> None:
        """What is written and not read only grows less while the server waits for its client."""
        unread = self.transport.get_write_buffer_size()
        is_stuck = unread and unread >= self._unread > 0 and not self._has_drained
        self._stuck_seconds = self._stuck_seconds + HEAD_SECONDS if is_stuck else 0.0
        self._unread, self._has_drained = unread, False
        if self._stuck_seconds >= WRITE_SECONDS:
            self.give_up()


def let_in(scope: Scope) -> None:
    """Says that a request's client has shown the token, or need not."""
    scope[LET_IN] = True
    connection = scope.get("state", {}).get(CONNECTION)
    if isinstance(connection, PatientConnection):
        connection.let_in()


def is_crowded(scope: Scope) -> bool:
    """Whether a request came while the server holds too many connections."""
    connection = scope.get("state", {}).get(CONNECTION)
    return isinstance(connection, PatientConnection) and connection.is_one_too_many


def is_let_in(scope: Scope) -> bool:
    """Whether that was said."""
    return bool(scope.get(LET_IN))
