"""Standard output and standard error of a command: each text passes here, and an output that fails is no defect.

What came from elsewhere passes `printable` before, or `json_text`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys

import click

from grange.cli.exit_codes import OutputLost
from grange.printable import printable_json


def json_text(data: bytes) -> str:
    """JSON from elsewhere as text that a terminal shows and does not obey."""
    return printable_json(data.decode("utf-8", "replace"))


def write(text: str) -> None:
    """Write a text and a line break to standard output. Raises OutputLost if that is impossible.

    A character that the terminal's encoding lacks is written as its escape.
    """
    stream = sys.stdout
    if stream is None:  # closed by the shell
        raise OutputLost("standard output is closed")
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except OSError as error:
        _discard(stream.fileno())
        raise OutputLost(error.strerror or str(error), error.errno == errno.EPIPE) from error
    except ValueError as error:  # closed by Python
        raise OutputLost("standard output is closed") from error


def _discard(descriptor: int) -> None:
    """Send what is still in the buffer nowhere: Python's own attempt at exit would fail again, with a traceback."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def complain(text: str) -> None:
    """Write one line to standard error, if there is one. `text` must be printable."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(text, err=True)
