"""A connection that sends no request is closed: uvicorn itself waits for the first one, and for the end of a request's head, for ever."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0


class PatientConnection(H11Protocol):
    """HTTP/1.1, with patience for a request's head of once to twice HEAD_SECONDS; bodies have limits of their own (uploads.py)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begins to watch."""
        super().connection_made(transport)
        self._seen: object = self
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends watching."""
        self._watcher.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Closes the connection where the last look saw the same: no request, or none after one that was answered."""
        is_waiting = self.cycle is None or self.cycle.response_complete
        if is_waiting and self._seen is self.cycle:
            self.transport.close()
        self._seen = self.cycle
        self._watcher = self.loop.call_later(HEAD_SECONDS, self._watch)
