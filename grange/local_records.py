"""Records of the silos that this user runs on this machine: the data folder of each, by its gateway.

A silo that uses the admin token of its data folder leaves a record, so a `grange` command in another folder finds the
token. Each record is a file of its own, locked before it gets its name, and it counts while it is locked. The system
frees the lock when the process ends, however it ends, and no file is locked again. So a record never leads to the token
of a silo that was killed, and an ended record can be removed at any time.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LONGEST = 4096
"""Most bytes of a record: a path."""

_SERVED_BY = {
    "127.0.0.1": {"127.0.0.1", "localhost", "0.0.0.0", "[::]"},  # noqa: S104 compared, not bound
    "[::1]": {"[::1]", "[::]"},
    "localhost": {"127.0.0.1", "[::1]", "localhost", "0.0.0.0", "[::]"},  # noqa: S104 compared, not bound
}
"""The hosts on which a silo may listen, by the name of this machine that reaches it. At any other host the gateway may
be that of another user."""

_RECORDED = frozenset[str]().union(*_SERVED_BY.values())

log = logging.getLogger("grange.silo")


@contextmanager
def recorded_gateway(gateway: str, data: Path, records: Path | None = None) -> Generator[None]:
    """Record that the silo at this gateway (host:port) has this data folder, until the `with` ends.

    `records` is the folder of the records, by default this user's. Without a folder that only this user can write there
    is no record: commands then need the data folder or a token. Does nothing on Windows.
    """
    if sys.platform == "win32" or gateway.rpartition(":")[0] not in _RECORDED:
        yield
        return
    try:
        path, file = _new_record(_folder_of_records() if records is None else records, gateway, data)
    except OSError as error:
        log.info("no record of this silo for commands in other folders: %s", error)
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(file)


def data_folder_of(gateway: str, records: Path | None = None) -> Path | None:
    """The data folder of the silo of this user that runs at this gateway (host:port); None if there is none.

    None also if the records name several, of silos in different network namespaces: it is not known which one answers.
    """
    host, _, port = gateway.rpartition(":")
    names = {f"{each}:{port}" for each in _SERVED_BY.get(host, ())}
    folder = _folder_of_records() if records is None else records
    found: set[Path] = set()
    with suppress(FileNotFoundError):
        if names and _is_private(folder):
            found = {data for name, data in _living(folder) if name in names}
    return found.pop() if len(found) == 1 else None


def _new_record(folder: Path, gateway: str, data: Path) -> tuple[Path, int]:
    """Make a record. Returns its file, open and locked. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(folder):
        raise PermissionError(f"other users may write in {str(folder)!r}")
    _remove_ended(folder)
    number = secrets.token_hex(8)
    draft, path = folder / f".{number}", folder / f"{gateway}~{number}"
    file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _lock(file, shared=False)
        os.write(file, os.fsencode(data.absolute()))
        draft.rename(path)
    except BaseException:
        os.close(file)
        with suppress(OSError):
            draft.unlink()
        raise
    return path, file


def _folder_of_records() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(base) / "grange" if os.path.isabs(base) else Path(tempfile.gettempdir()) / f"grange-{os.geteuid()}"


def _is_private(folder: Path) -> bool:
    """Whether it is a folder in which only this user can write."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _records(folder: Path) -> Iterator[Path]:
    """The files of the records; a draft has a name that begins with a dot."""
    return (path for path in folder.iterdir() if "~" in path.name and not path.name.startswith("."))


def _living(folder: Path) -> Iterator[tuple[str, Path]]:
    """The gateways and data folders of silos that run."""
    for path in _records(folder):
        with suppress(FileNotFoundError), _opened(path) as file:
            if _is_locked(file):
                yield path.name.partition("~")[0], Path(os.fsdecode(os.read(file, _LONGEST)))


def _remove_ended(folder: Path) -> None:
    """Remove the records of silos that were killed."""
    for path in _records(folder):
        with suppress(FileNotFoundError), _opened(path) as file:
            if not _is_locked(file):
                path.unlink()


@contextmanager
def _opened(path: Path) -> Generator[int]:
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield file
    finally:
        os.close(file)


def _is_locked(file: int) -> bool:
    try:
        _lock(file, shared=True)
    except BlockingIOError:
        return True
    return False


def _lock(file: int, shared: bool) -> None:
    """Lock an open file until it is closed. Raises BlockingIOError if another process holds the lock."""
    import fcntl  # Windows has no such module

    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
