"""Standard output that is full, closed, a broken pipe or not UTF-8 is no defect of grange."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from grange.cli.exit_codes import ExitCode, OutputLost, exit_code
from grange.cli.output import LEAST_WIDTH, terminal
from grange.cli.streams import complain, write


@contextmanager
def standard_output(stream: io.TextIOBase | None) -> Iterator[None]:
    before, sys.stdout = sys.stdout, stream  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout = before


def test_a_full_disk() -> None:
    with Path("/dev/full").open("w") as full, standard_output(full):
        with pytest.raises(OutputLost, match="the output cannot be written: No space left on device") as caught:
            write("apple")
        write("the rest of the buffer goes nowhere, and the end of the process is not disturbed")
    assert exit_code(caught.value) is ExitCode.FAILED
    assert not caught.value.is_quiet


def test_a_reader_that_has_gone_needs_no_words() -> None:
    """As `grange grains | head` makes it."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe, standard_output(pipe), pytest.raises(OutputLost) as caught:
        write("apple")
    assert caught.value.is_quiet


def test_a_closed_standard_output(tmp_path: Path) -> None:
    with standard_output(None), pytest.raises(OutputLost, match="standard output is closed"):
        write("apple")
    closed = (tmp_path / "closed").open("w")
    closed.close()
    with standard_output(closed), pytest.raises(OutputLost, match="standard output is closed"):
        write("apple")


@pytest.mark.parametrize(("encoding", "data"), [("ascii", rb"\xe9\u20ac"), ("latin-1", b"\xe9\\u20ac")])
def test_a_letter_that_the_terminal_lacks_is_shown_as_its_escape(encoding: str, data: bytes) -> None:
    raw = io.BytesIO()
    with standard_output(io.TextIOWrapper(raw, encoding=encoding)):
        write("é€")
        assert raw.getvalue() == data + b"\n"


def test_a_complaint_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _: str, /) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    for stream in (Full(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        complain("apple")


@pytest.mark.parametrize("columns", ["1", "0", "-3", "many"])
def test_a_terminal_that_claims_no_width_gets_some(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", columns)
    with standard_output(Terminal()):
        assert terminal().width >= LEAST_WIDTH
