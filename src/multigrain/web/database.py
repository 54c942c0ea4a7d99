"""The server's database: opened, tied to its data folder, and its errors told apart."""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Column, Engine, MetaData, String, Table, create_engine, event, insert, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from multigrain.errors import ServerError

METADATA = MetaData()
FOLDER = Table("multigrain_folder", METADATA, Column("id", String(32), primary_key=True))
"""One row: the id of the data folder whose jobs these are."""
BUSY_MILLISECONDS = 3000
"""How long a statement waits for somebody else's lock; who asked then gets an answer, and what must be written is tried again."""


def open_database(url: str | URL) -> Engine:
    """Opens the database and makes tables that are missing.

    Raises:
        ServerError: it cannot be opened, or holds a table of another version.
    """
    try:
        engine = create_engine(url, pool_pre_ping=make_url(url).get_backend_name() != "sqlite")
        if engine.dialect.name == "sqlite":
            _make_owners_file(engine.url.database)
            event.listen(engine, "connect", _prepare_sqlite)
        METADATA.create_all(engine)
        for table in METADATA.sorted_tables:
            _check_columns(engine, table)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise ServerError(
            f"--database cannot be used ({error}). Expected a SQLAlchemy URL whose driver is installed, such as sqlite:////folder/jobs.sqlite or "
            "postgresql+psycopg://user:password@host/name; without the option it is a SQLite file in the data folder."
        ) from error
    except (SQLAlchemyError, OSError) as error:
        raise ServerError(f"The database of the jobs cannot be opened ({first_line(error)}). Check --database and --data.") from error
    return engine


def tie(engine: Engine, folder_id: str, folder: Path) -> None:
    """Ties a database to the folder that its jobs lie in, at its first use; later it checks.

    Raises:
        ServerError: it belongs to another folder, so that the files of its jobs are not here.
    """
    try:
        with engine.begin() as connection:
            found = connection.execute(select(FOLDER.c.id)).scalar()
            if found is None:
                connection.execute(insert(FOLDER).values(id=folder_id))
    except SQLAlchemyError as error:
        raise ServerError(f"The database of the jobs cannot be written ({first_line(error)}). Check --database and --data.") from error
    if found not in (None, folder_id):
        raise ServerError(
            f"The database belongs to another data folder than {folder}: the files of its analyses are not here (it is tied to the folder with id "
            f"{found}, this one has {folder_id}; see folder.json in each). Start with the folder that it belongs to, or name another --database."
        )


def first_line(error: Exception) -> str:
    """What an error says, without the statement that it is about."""
    return str(error).splitlines()[0]


def _check_columns(engine: Engine, table: Table) -> None:
    found = {column["name"] for column in inspect(engine).get_columns(table.name)}
    missing = [column.name for column in table.columns if column.name not in found]
    if missing:
        raise ServerError(
            f"The database's table {table.name} is of another version of multigrain: it has no column {missing[0]!r}. "
            "Name another database with --database, or another folder with --data."
        )


def _make_owners_file(database: str | None) -> None:
    """A new SQLite file is for its owner only, and so are those that SQLite puts beside it."""
    if database and database != ":memory:" and not database.startswith("file:") and Path(database).parent.is_dir() and not Path(database).exists():
        os.close(os.open(database, os.O_CREAT | os.O_WRONLY, 0o600))


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Readers do not wait for writers, writers wait for one another, and what is deleted is overwritten."""
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_MILLISECONDS}", "journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
