"""Looks at a SQLite file, for `findings.py`. Entry point of the group `grange.check`."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from grange.databases.findings import StoreFinding, judge_sqlite, ok
from grange.databases.migrations import SCHEMA_TABLE
from grange.errors import MembershipUnavailable

LOCK_TIMEOUT = 5.0
"""Seconds to wait for another process's lock."""


async def check_sqlite(url: str) -> list[StoreFinding]:
    """See `StoreCheck`. Reads the whole file, in a thread of its own; a file that is not there yet is fine."""
    return await asyncio.to_thread(_check, Path(unquote(urlsplit(url).path)[1:]))


def _check(path: Path) -> list[StoreFinding]:
    if not path.exists():
        return [ok("file", "not there yet: the first silo makes it")]
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=LOCK_TIMEOUT)) as file:
            journal: str = file.execute("PRAGMA journal_mode").fetchone()[0]
            integrity = "; ".join(row[0] for row in file.execute("PRAGMA quick_check"))
            known = "SELECT 1 FROM sqlite_master WHERE name = ?"
            has_schema = file.execute(known, (SCHEMA_TABLE,)).fetchone() is not None
            query = f"SELECT component, version FROM {SCHEMA_TABLE}"
            applied: list[tuple[str, int]] = file.execute(query).fetchall() if has_schema else []
    except sqlite3.OperationalError as error:
        raise MembershipUnavailable(f"the SQLite file {str(path)!r} cannot be looked at: {error}") from error
    except sqlite3.DatabaseError as error:
        return judge_sqlite(str(error), "unknown", ())
    return judge_sqlite(integrity, journal, applied)
