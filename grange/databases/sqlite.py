"""Access to a SQLite file: opens it, brings its tables up to date, types the driver's errors, checks its safety."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import aiosqlite

from grange.aio.awake import AwakeTimeout
from grange.aio.uninterrupted import uninterrupted
from grange.databases.errors import AnswerLost, DatabaseDamaged, DatabaseError, DatabaseUnavailable
from grange.databases.findings import StoreFinding, bad, ok
from grange.databases.judges import judge_sqlite
from grange.databases.migrations import (
    CREATE_SCHEMA_TABLE,
    MIGRATION_TIMEOUT,
    SCHEMA_TABLE,
    SchemaState,
    plan,
    schema_state,
    shipped_migrations,
)
from grange.databases.urls import malformed, parse_url
from grange.errors import ConfigurationError

T = TypeVar("T")

FORM = "sqlite:///relative/file.db"

CHECK_LOCK_TIMEOUT = 5.0
"""Seconds that `check_sqlite` waits for another process's lock."""

LOCK_RETRY = 0.02
"""Seconds between two tries to take a lock that another process holds, or to switch a new file to WAL mode."""

# The first version with STRICT tables; RETURNING is older.
_OLDEST_SQLITE = (3, 37)

_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
    }
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def path_of(url: str) -> Path:
    """The file that a `sqlite:///file` URL names. Raises ConfigurationError for any other URL."""
    parsed = parse_url(url, FORM)
    name = parsed.path[1:]
    if parsed.hosts or parsed.username or parsed.options or not name or "\0" in name:
        raise malformed(
            FORM, "SQLite takes three slashes before a relative file, four before an absolute one, no query"
        )
    path = Path(name)
    if os.path.isdir(path):  # unlike `Path.is_dir`, no error for a folder that this user may not look into
        raise ConfigurationError(f"the SQLite URL names the folder {name!r}; name a file in it")
    return path


@asynccontextmanager
async def open_sqlite(
    path: Path, timeout: float, lock_timeout: float, synchronous: Literal["FULL", "NORMAL"]
) -> AsyncGenerator[aiosqlite.Connection]:
    """A connection in autocommit mode to a file in WAL mode, closed at exit. A missing file or folder is created.

    `timeout` bounds the switch to WAL mode, in seconds. `lock_timeout` is SQLite's own wait for another process's lock;
    shorter, so that the error is SQLite's own. `synchronous=FULL` survives a power failure; NORMAL may lose the last
    commits in one. Raises ConfigurationError for a SQLite that is too old, and DatabaseError.
    """
    _prepare(path)
    # isolation_level=None: a transaction begins only where the code says so. timeout=0: `_use_wal` waits itself.
    connection = aiosqlite.connect(path, isolation_level=None, timeout=0)
    try:
        with sqlite_errors(name_of(path)):
            # A cancellation half-way would lose the connection that the thread is about to open.
            await uninterrupted(_opened(connection))
        async with bounded(name_of(path), timeout):
            await _use_wal(connection, lock_timeout)
            await connection.execute(f"PRAGMA busy_timeout = {lock_timeout * 1000:.0f}")
            await connection.execute(f"PRAGMA synchronous = {synchronous}")
        yield connection
    finally:
        await connection.close()


async def _opened(connection: aiosqlite.Connection) -> None:
    await connection


async def in_driver(connection: aiosqlite.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run a function in the thread of a connection, between two of its other operations.

    So a transaction of several statements takes one change of threads, and no other task gets between them. The driver
    has no public way to do it; its own methods use this one.
    """
    driver = cast("Any", connection)
    return cast("T", await driver._execute(lambda: work(driver._conn)))


def _prepare(path: Path) -> None:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old, grange needs 3.37; use a newer Python")
    folder = path.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise _no_folder(path) from error
    except OSError as error:
        raise DatabaseUnavailable(f"the folder of {name_of(path)} cannot be made or used: {error.strerror}") from error
    if os.path.isdir(path):
        raise ConfigurationError(f"{name_of(path)} is a folder; name another file, or another data folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DatabaseUnavailable(
            f"this user may not write into the folder of {name_of(path)}; permit it, or use another"
        )


def _no_folder(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{name_of(path)} cannot be made: its folder or a part of the path is a file; name a folder"
    )


def is_there(path: Path) -> bool:
    """Whether there is a file. Raises DatabaseUnavailable if that cannot be known, ConfigurationError for no folder."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except NotADirectoryError as error:
        raise _no_folder(path) from error
    except OSError as error:
        raise DatabaseUnavailable(f"{name_of(path)} cannot be read: {error.strerror}") from error
    return True


def name_of(path: Path) -> str:
    """The file's name in error texts."""
    return f"the SQLite file {str(path)!r}"


async def _use_wal(connection: aiosqlite.Connection, lock_timeout: float) -> None:
    """Switch to WAL mode, in which readers do not wait for a writer. SQLite does not wait for this lock."""
    await _once_unlocked(connection, "PRAGMA journal_mode = WAL", lock_timeout)


async def _once_unlocked(connection: aiosqlite.Connection, statement: str, seconds: float) -> None:
    """Run a statement again and again until no other process holds the lock that it needs, for so many seconds."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while True:
        try:
            await connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or loop.time() >= ends:
                raise
        await asyncio.sleep(LOCK_RETRY)


async def migrate(connection: aiosqlite.Connection, component: str) -> None:
    """Bring the tables of a component, such as "storage", up to date. Safe when several processes start at once.

    Takes the file's exclusive lock, and only if something is missing; waits for another process that migrates. Raises
    ConfigurationError when the file is newer than this grange, and the driver's errors.
    """
    known = shipped_migrations(f"grange.{component}", "sqlite")
    if not plan(component, known, await _applied(connection, component)):
        return
    await _once_unlocked(connection, "BEGIN EXCLUSIVE", MIGRATION_TIMEOUT)
    try:
        await connection.execute(CREATE_SCHEMA_TABLE)
        for migration in plan(component, known, await _applied(connection, component)):
            for statement in statements_of(migration.sql):
                await connection.execute(statement)
            row = (component, migration.version, migration.name)
            await connection.execute(f"INSERT INTO {SCHEMA_TABLE} (component, version, name) VALUES (?, ?, ?)", row)
    except BaseException:
        await connection.rollback()
        raise
    await connection.commit()


async def _applied(connection: aiosqlite.Connection, component: str) -> list[int]:
    known_table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
    if not list(await connection.execute_fetchall(known_table, (SCHEMA_TABLE,))):
        return []
    rows = await connection.execute_fetchall(f"SELECT version FROM {SCHEMA_TABLE} WHERE component = ?", (component,))
    return [row[0] for row in rows]


def statements_of(sql: str) -> Iterator[str]:
    """The statements of a script, one at a time; each ends at the end of a line.

    sqlite3's own `executescript` commits first, which would release the lock. Raises ConfigurationError for a last
    statement that does not end with a semicolon.
    """
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    if rest := _COMMENT.sub("", statement).strip():
        raise ConfigurationError(
            f"a statement of a migration does not end with ';' at the end of a line: {rest!r:.200}"
        )


@asynccontextmanager
async def bounded(name: str, seconds: float) -> AsyncGenerator[None]:
    """Bound the time of an operation on the database `name`, and turn SQLite's errors into DatabaseError."""
    with sqlite_errors(name):
        try:
            async with AwakeTimeout(seconds):
                yield
        except TimeoutError as error:
            raise AnswerLost(
                f"{name} did not answer within {seconds} s: another process holds its lock, or the disk is stuck"
            ) from error


@contextmanager
def sqlite_errors(name: str = "SQLite") -> Generator[None]:
    """Turn SQLite's errors into DatabaseError. `name` names the database in their texts."""
    try:
        yield
    except sqlite3.Error as error:
        code = primary_code(error)
        if code == sqlite3.SQLITE_IOERR:
            # A commit that met an I/O error may be found in the log file when the file is opened again.
            raise AnswerLost(f"{name} is not available: {error}") from error
        if code in _UNAVAILABLE:
            raise DatabaseUnavailable(f"{name} is not available: {error}") from error
        if code in _DAMAGED:
            raise DatabaseDamaged(f"{name} is damaged or not a SQLite file: {error}") from error
        raise DatabaseError(f"{name} refused: {error}") from error
    except ValueError as error:
        if str(error) in {"no active connection", "Connection closed"}:
            raise DatabaseError(f"the connection to {name} was closed") from error
        raise


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's error code without the extension that details it."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    return int(code) & 0xFF


async def check_sqlite(url: str) -> list[StoreFinding]:
    """See `StoreCheck`. Reads the whole file in a thread of its own; a missing file is fine."""
    return await asyncio.to_thread(_check, path_of(url))


async def sqlite_schema(url: str, component: str) -> SchemaState:
    """See `SchemaReader`. Reads the file in a thread of its own, and does not make a missing one."""
    return schema_state(component, "sqlite", await asyncio.to_thread(_recorded, path_of(url), component))


def _recorded(path: Path, component: str) -> list[int]:
    if not is_there(path):
        return []
    with sqlite_errors(name_of(path)), closing(_read_only(path)) as file:
        return [version for each, version in _versions(file) if each == component]


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=CHECK_LOCK_TIMEOUT)


def _versions(file: sqlite3.Connection) -> list[tuple[str, int]]:
    known = "SELECT 1 FROM sqlite_schema WHERE name = ?"
    if file.execute(known, (SCHEMA_TABLE,)).fetchone() is None:
        return []
    return file.execute(f"SELECT component, version FROM {SCHEMA_TABLE}").fetchall()


def _check(path: Path) -> list[StoreFinding]:
    folder = next(each for each in path.absolute().parents if os.path.exists(each))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        return [bad("file", f"it cannot be made in {str(folder)!r}", "name a file in a folder that the silo may write")]
    if not is_there(path):
        return [ok("file", "not there yet: the first silo makes it")]
    if not os.access(path, os.R_OK | os.W_OK):
        return [bad("file", "this user may not read and write it", "give the file to the silo's user")]
    try:
        with closing(_read_only(path)) as file:
            journal: str = file.execute("PRAGMA journal_mode").fetchone()[0]
            integrity = "; ".join(row[0] for row in file.execute("PRAGMA quick_check"))
            applied = _versions(file)
    except sqlite3.OperationalError as error:
        raise DatabaseUnavailable(f"{name_of(path)} cannot be checked: {error}") from error
    except sqlite3.DatabaseError as error:
        return judge_sqlite(str(error), "unknown", ())
    return judge_sqlite(integrity, journal, applied)
