"""Lets a writer of a SQLite file that has waited long write before other processes do.

Called by `sqlite.py`. SQLite keeps no queue of the writers that wait: each tries again and again, while the writer that
has just committed begins its next change at once. On a busy machine a writer that waits may miss every short time
between two commits of others, for as long as they write. So a change that has waited `ASKS_AFTER` seconds takes a file
lock, the priority, and other processes try no change while one of them has it.

The lock is on SQLite's log file, which is there while a connection is open and on which SQLite itself has no locks.
(Not on the database file: to close any descriptor of that file would drop SQLite's own locks.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

try:
    import fcntl
except ImportError:  # Windows has none; there a writer waits without an order
    fcntl = None  # type: ignore[assignment]

ASKS_AFTER = 0.05
"""Seconds that a change waits before it asks for priority; a few commits on an idle machine. Below it the order does
not matter, and an order costs speed."""

STANDS_BACK = 0.25
"""Seconds that a change stands back at most. A process that is stopped while it has priority must not stop others."""


class Priority:
    """The priority of one file, as one process sees it. `path` is the log file; `close` gives everything up."""

    def __init__(self, path: str, stands_back: float = STANDS_BACK) -> None:
        self._file = os.open(
            path, os.O_RDWR
        )  # some file systems give an exclusive lock only to a file open for writing
        self._stands_back = stands_back
        self._holder: object | None = None

    @contextmanager
    def asked(self) -> Generator[Callable[[float], bool]]:
        """Ask for one change whether it may be tried now, by the seconds that it has waited.

        A change that has waited long gets priority if no other has it, and keeps it until the end of the block.
        """
        change = object()
        try:
            yield partial(self._permits, change)
        finally:
            if self._holder is change:
                self._holder = None
                if fcntl is not None:
                    fcntl.flock(self._file, fcntl.LOCK_UN)

    def _permits(self, change: object, waited: float) -> bool:
        if self._holder is not None:
            return True
        if fcntl is None:
            return True
        asks = waited >= ASKS_AFTER
        try:
            fcntl.flock(self._file, (fcntl.LOCK_EX if asks else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return waited >= self._stands_back
        if asks:
            self._holder = change
        else:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return True

    def close(self) -> None:
        """Close the file. No change may wait any more."""
        os.close(self._file)
