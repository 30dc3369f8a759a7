"""The folder of one `grange dev` for its membership table. It ends with the command.

A process that is killed leaves its folder behind; the next `grange dev` removes it. A lock on a file tells whether the
owner of a folder still runs: the system frees it when that process ends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none; there the folders of killed processes stay
    fcntl = None  # type: ignore[assignment]

PREFIX = "grange-dev-"

_LOCK = "lock"


@contextmanager
def dev_folder() -> Generator[Path]:
    """A new folder, until the end of the block. Folders of owners that were killed are removed first."""
    for left in _left():
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / ".lock").open("w") as lock:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / ".lock").rename(folder / _LOCK)  # only a file that is locked has this name
            yield folder


def _left() -> Iterator[Path]:
    """The folders of this user whose owners have ended."""
    if fcntl is None:
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # not locked by this process: it runs; not there: it has just ended
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield folder
