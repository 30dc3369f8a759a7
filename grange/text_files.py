"""Reads small text files that people and supervisors write: configuration and secrets."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

LARGEST_FILE = 1024 * 1024
"""Bytes of a file that are read at most: a larger file is another file."""


def bytes_of(path: Path, largest: int = LARGEST_FILE) -> bytes:
    """The content of a regular file. Raises OSError, and ValueError for another kind of file or a larger one."""
    if not stat.S_ISREG(path.stat().st_mode):
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise ValueError(f"it is {kind}")
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(f"it is larger than {largest} bytes")
    return data


def text_of(path: Path) -> str:
    """The text of a regular file. Raises OSError, and ValueError for another kind of file or content."""
    data = bytes_of(path)
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it begins with a byte order mark; save it as UTF-8 without one")
    return data.decode()


def reason_of(error: Exception) -> str:
    """Why a file cannot be read, in words that show nothing of it."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at byte {error.start}"
    if isinstance(error, FileNotFoundError):
        return "it is a link to a file that is not there"
    if isinstance(error, OSError):
        return str(error.strerror)
    if isinstance(error, tomllib.TOMLDecodeError):
        return f"it is not TOML: {error}"
    return str(error)


def secret_of(path: Path) -> str:
    """The secret in a file, without the space around it. Raises ValueError that says why there is none."""
    try:
        text = text_of(path).strip()
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except (OSError, ValueError) as error:
        raise ValueError(reason_of(error)) from None
    if not text:
        raise ValueError("it is empty; write the value into it")
    return text
