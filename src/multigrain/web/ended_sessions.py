"""Sessions that were ended before their time. They are few, so that they are held in memory, and kept in the database for the next start."""

import time

from sqlalchemy import Column, Engine, Float, String, Table, delete, insert, select

from multigrain.web.database import METADATA

ALL = "all"
ENDED = Table("multigrain_ended_sessions", METADATA, Column("name", String(32), primary_key=True), Column("expires", Float, nullable=False))
"""A row an ended session, with the time at which it would have ended by itself; the row `all` ends every one that would have ended until then."""


class EndedSessions:
    """The ended sessions.

    Args:
        engine: of the database; None to forget them with the process.
    """

    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine
        self._expires: dict[str, float] = {}
        if engine is not None:
            with engine.connect() as connection:
                self._expires = {row.name: row.expires for row in connection.execute(select(ENDED))}

    def has(self, name: str, expires: float) -> bool:
        """Whether a session was ended."""
        return name in self._expires or expires <= self._expires.get(ALL, 0.0)

    def add(self, name: str, expires: float) -> None:
        """Ends one: written down first, so that it has not ended where that fails."""
        self._keep(name, expires)

    def add_all(self, expires: float) -> None:
        """Ends all that would end by themselves until then."""
        self._keep(ALL, expires)

    def _keep(self, name: str, expires: float) -> None:
        now = time.time()
        if self._engine is not None:
            with self._engine.begin() as connection:
                connection.execute(delete(ENDED).where((ENDED.c.expires < now) | (ENDED.c.name == name)))
                connection.execute(insert(ENDED).values(name=name, expires=expires))
        self._expires = {kept: until for kept, until in self._expires.items() if until >= now} | {name: expires}
