"""Decides which numbered SQL files a database still lacks. Pure; `sqlite.py` and `postgres.py` run them.

A room ships its files as `<room>/migrations/<dialect>/0001_words.sql`, numbered from 1 without gaps. A file that was
released is never changed. The table `grange_schema` in the database records the applied files of each component, so
several rooms can share one database. The migrator of a dialect, in one transaction:

1. takes the lock (Postgres: `pg_advisory_xact_lock(ADVISORY_LOCK)`; SQLite: `BEGIN EXCLUSIVE`);
2. runs `CREATE_SCHEMA_TABLE`, reads the component's versions, calls `plan`;
3. runs the SQL of each migration in the plan and inserts its row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.resources import files

import msgspec

from grange.errors import ConfigurationError

SCHEMA_TABLE = "grange_schema"
"""The table that records applied migrations; all components share it."""

CREATE_SCHEMA_TABLE = f"""
CREATE TABLE IF NOT EXISTS {SCHEMA_TABLE} (
    component text NOT NULL,
    version integer NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (component, version)
)
"""
"""Valid in SQLite and Postgres. Run it under the lock only: two at once can fail in Postgres."""

ADVISORY_LOCK = 0x6772_616E_6765
"""Key of the Postgres advisory lock ("grange" in ASCII). One for all components: they share the table."""

MIGRATION_TIMEOUT = 60.0
"""Seconds to bring the tables up to date; another silo may be doing it and hold the lock."""

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


class Migration(msgspec.Struct, frozen=True):
    """One file: its number, the words of its name, and its SQL."""

    version: int
    name: str
    sql: str


class SchemaState(msgspec.Struct, frozen=True):
    """How far the tables of a component are: the version found in the database (0: no tables), and this grange's."""

    component: str
    found: int
    newest: int


def schema_state(component: str, dialect: str, applied: Iterable[int]) -> SchemaState:
    """The state for the versions that the database records. Raises ConfigurationError as `plan` does."""
    known = shipped_migrations(f"grange.{component}", dialect)
    return SchemaState(component, len(known) - len(plan(component, known, applied)), len(known))


def shipped_migrations(room: str, dialect: str) -> tuple[Migration, ...]:
    """The files that a room's package ships for a dialect, for example `("grange.storage", "postgres")`."""
    folder = files(room) / "migrations" / dialect
    sql_files = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    texts = {entry.name: entry.read_text("utf-8") for entry in sql_files}
    return parse_migrations(f"{room}:{dialect}", texts)


def parse_migrations(source: str, texts: Mapping[str, str]) -> tuple[Migration, ...]:
    """The migrations in order. Raises ConfigurationError for a wrong name, a gap, a repeated number or no file."""
    migrations: list[Migration] = []
    for file_name, sql in sorted(texts.items()):
        match = _FILE_NAME.fullmatch(file_name)
        if match is None:
            raise ConfigurationError(f"migration {file_name!r} of {source} is not named like 0001_words.sql")
        migrations.append(Migration(int(match[1]), match[2], sql))
    numbers = [migration.version for migration in migrations]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise ConfigurationError(f"migrations of {source} must be numbered 1, 2, 3 …; found {numbers}")
    return tuple(migrations)


def plan(component: str, known: tuple[Migration, ...], applied: Iterable[int]) -> tuple[Migration, ...]:
    """The migrations still to run, in order. `applied` are the component's versions that the database records.

    Raises ConfigurationError when the database is newer than this grange, or its history has a gap.
    """
    done = sorted(applied)
    newest = len(known)
    if done and done[-1] > newest:
        raise ConfigurationError(
            f"the {component} tables are at schema version {done[-1]}, this grange knows up to {newest}: "
            f"a newer grange has upgraded the database; run that version or a later one"
        )
    if done != list(range(1, len(done) + 1)):
        raise ConfigurationError(
            f"the {component} tables lack a migration in the middle (applied: {done}); "
            f"restore the rows of {SCHEMA_TABLE} or start from an empty database"
        )
    return known[len(done) :]
