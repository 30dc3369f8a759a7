"""Which numbered SQL files a database still lacks. A pure planner: each provider runs the plan itself.

A room ships its files as `<room>/migrations/<dialect>/0001_words.sql`, numbered from 1 without gaps; a file
that was released is never changed. `grange_schema` in the database notes what was applied, for each component
by itself, so that several rooms can share one database. A provider's part, in one transaction:

1. take the lock (Postgres: `pg_advisory_xact_lock(ADVISORY_LOCK)`; SQLite: `BEGIN EXCLUSIVE`);
2. run `CREATE_SCHEMA_TABLE`, read the component's versions, ask `plan`;
3. for each migration of the plan, run its SQL and insert its row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.resources import files

import msgspec

from grange.errors import ConfigurationError

SCHEMA_TABLE = "grange_schema"
"""The table that notes what was applied; all components share it."""

CREATE_SCHEMA_TABLE = f"""
CREATE TABLE IF NOT EXISTS {SCHEMA_TABLE} (
    component text NOT NULL,
    version integer NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (component, version)
)
"""
"""Understood by SQLite and Postgres. Run it under the lock only: two at once can fail in Postgres."""

ADVISORY_LOCK = 0x6772_616E_6765
"""Key of the Postgres advisory lock ("grange" in ASCII). One for all components: they share the table."""

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


class Migration(msgspec.Struct, frozen=True):
    """One file: its number, the words of its name, and its statements."""

    version: int
    name: str
    sql: str

    @property
    def statements(self) -> tuple[str, ...]:
        """The single statements, for drivers that run one at a time. Each ends with `;` at the end of a
        line."""
        parts = re.split(r";[ \t]*(?:\n|$)", self.sql)
        return tuple(part.strip() for part in parts if part.strip())


def shipped_migrations(room: str, dialect: str) -> tuple[Migration, ...]:
    """The files that a room's package ships for a dialect, such as `("grange.storage", "postgres")`."""
    folder = files(room) / "migrations" / dialect
    sql_files = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    texts = {entry.name: entry.read_text("utf-8") for entry in sql_files}
    return parse_migrations(f"{room}:{dialect}", texts)


def parse_migrations(source: str, texts: Mapping[str, str]) -> tuple[Migration, ...]:
    """File names and texts, in order. Raises ConfigurationError for a wrong name, a gap, a double or none."""
    found: list[Migration] = []
    for file_name, sql in sorted(texts.items()):
        match = _FILE_NAME.fullmatch(file_name)
        if match is None:
            raise ConfigurationError(f"migration {file_name!r} of {source} is not named like 0001_words.sql")
        found.append(Migration(int(match[1]), match[2], sql))
    numbers = [migration.version for migration in found]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise ConfigurationError(f"migrations of {source} must be numbered 1, 2, 3 …; found {numbers}")
    return tuple(found)


def plan(component: str, known: tuple[Migration, ...], applied: Iterable[int]) -> tuple[Migration, ...]:
    """What is still to run, in order, given the versions that the database has applied for this component.

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
