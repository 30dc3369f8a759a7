"""The admin token in the data folder: silos of one folder make and share it, `grange` commands beside them read it.

The file's owner alone may read it, so a program of another user of this machine is no admin of the silos.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from grange.errors import ConfigurationError

FILE = "admin-token"
"""The file's name in the data folder."""

SHORTEST, LONGEST = 16, 512
"""Fewest and most characters of a token."""

_OPEN_TO_OTHERS = 0o077


def check_token(token: str) -> str:
    """The token, or a ValueError that says what a token is. The message never shows it."""
    if not SHORTEST <= len(token) <= LONGEST:
        raise ValueError(f"a token has {SHORTEST} to {LONGEST} characters, not {len(token)}")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError("a token consists of letters, digits and punctuation of ASCII, without blanks")
    return token


def read_admin_token(folder: Path) -> str | None:
    """The token of this data folder, for a command beside the silos; None if there is none.

    Raises ConfigurationError for a file that is not safe to trust: other users may read or write it.
    """
    return _read(folder, lambda _: True)


def _read(folder: Path, may_own: Callable[[int], bool]) -> str | None:
    path = folder / FILE
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(file)
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            raise _unusable(path, "is not a regular file")
        if mode & _OPEN_TO_OTHERS and os.name == "posix":
            raise _unusable(path, f"may be read or written by other users (its mode is {mode & 0o777:o})")
        if not may_own(status.st_uid):
            raise _unusable(path, "belongs to another user")
        data = os.read(file, LONGEST + 2)
    finally:
        os.close(file)
    try:
        return check_token(data.decode("ascii").strip())
    except ValueError:
        raise _unusable(path, "holds no token") from None


def make_admin_token(folder: Path) -> str:
    """The token of this data folder, made if there is none; of two silos that make it at once, one wins.

    Raises ConfigurationError as `read_admin_token` does and if the file belongs to another user, who then knows the
    token: root can read it all the same. Raises OSError if the folder cannot be written.
    """
    while (token := _read(folder, _is_own)) is None:
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"{FILE}.{secrets.token_hex(8)}"
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{secrets.token_urlsafe(32)}\n")
            with suppress(FileExistsError):  # another silo was faster: its token is read in the next round
                os.link(draft, folder / FILE)
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()
    return token


def _is_own(owner: int) -> bool:
    return os.name != "posix" or owner == os.geteuid()


def _unusable(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"the admin token {str(path)!r} {problem}; remove the file, and the next silo that starts here makes a new one"
    )
