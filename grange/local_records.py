"""Records of the silos that this user runs on this machine: the data folder of each, by its gateway.

A silo that uses the admin token of its data folder leaves a record, so a `grange` command in another folder finds the
token. A record counts while its silo holds the lock on it; the system frees the lock when the process ends, however it
ends. So the token of a silo that was killed is not sent to a program that listens on its port later.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_LONGEST = 4096
"""Most bytes of a record: a path."""

_WILDCARDS = ("0.0.0.0", "[::]")
_LOOPBACK = {"127.0.0.1": ("127.0.0.1",), "[::1]": ("[::1]",), "localhost": ("127.0.0.1", "[::1]")}
"""The hosts of this machine as commands name them, and as silos record them."""


@contextmanager
def recorded_gateway(gateway: str, data: Path, records: Path | None = None) -> Generator[None]:
    """Record that the silo at this gateway (host:port) has this data folder, until the `with` ends.

    `records` is the folder of the records, by default this user's. Without a folder that only this user can write there
    is no record: commands then need the data folder or a token. Does nothing on Windows.
    """
    if sys.platform == "win32" or not gateway.startswith((*_WILDCARDS, *_LOOPBACK)):
        yield
        return
    folder = _folder_of_records() if records is None else records
    try:
        record = _Record(folder, gateway, data)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        record.close()


def data_folder_of(gateway: str, records: Path | None = None) -> Path | None:
    """The data folder of the silo of this user that runs at this gateway (host:port); None if there is none."""
    if sys.platform == "win32":
        return None
    folder = _folder_of_records() if records is None else records
    host, _, port = gateway.rpartition(":")
    hosts = _LOOPBACK.get(host, ())
    with suppress(OSError):
        if hosts and _is_private(folder):
            return next(_living(folder / f"{each}:{port}" for each in (*hosts, *_WILDCARDS)), None)
    return None


class _Record:
    """A record and the lock on it."""

    def __init__(self, folder: Path, gateway: str, data: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(folder):
            raise PermissionError(f"{folder} may be written by other users")
        _remove_ended(folder)
        self._path = folder / gateway
        draft = folder / f".{secrets.token_hex(8)}"
        self._file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # Locked before it has its name, so no reader takes it for the record of an ended silo.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._file, os.fsencode(data.absolute()))
            draft.replace(self._path)
        except BaseException:
            os.close(self._file)
            with suppress(OSError):
                draft.unlink()
            raise

    def close(self) -> None:
        """Remove the record, unless a later silo has replaced it."""
        try:
            with suppress(OSError):
                if self._path.stat().st_ino == os.fstat(self._file).st_ino:
                    self._path.unlink()
        finally:
            os.close(self._file)


def _folder_of_records() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(base) / "grange" if os.path.isabs(base) else Path(tempfile.gettempdir()) / f"grange-{os.geteuid()}"


def _is_private(folder: Path) -> bool:
    """Whether it is a folder in which only this user can write."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _living(paths: Iterable[Path]) -> Generator[Path]:
    """The data folders of those records whose silos run."""
    for path in paths:
        with suppress(FileNotFoundError), _opened(path) as file:
            if _is_locked(file):
                yield Path(os.fsdecode(os.read(file, _LONGEST)))


def _remove_ended(folder: Path) -> None:
    """Remove the records of silos that were killed."""
    for path in folder.iterdir():
        with suppress(OSError), _opened(path) as file:
            if not path.name.startswith(".") and not _is_locked(file):
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
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
