"""The output of a command: JSON for programs, or texts and tables for people, fitted to the width of the terminal."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from grange.cli.streams import json_text, write
from grange.printable import printable

PIPE_WIDTH = 200
"""Columns for output into a pipe or a file."""

LEAST_WIDTH = 20
"""Columns that a table gets at least, on a terminal that claims to be narrower."""

BREAKS = re.compile(r"(?<=\d)(?=[@T])")
"""Where a cell may break: before the generation of a silo's address, and before the hour of a time."""

AMPLE_WIDTH = 10_000
"""Columns that are enough for every table; used to measure the least width of one."""


class Output(msgspec.Struct, frozen=True):
    """How a command shows its answer: `as_json` for programs. `fits`: a table is fitted without cutting a cell.
    `again`: answers follow one another; on a terminal each takes the place of the one before, and JSON is one line."""

    as_json: bool
    fits: bool = True
    again: bool = False

    def show(self, facts: Any, *parts: Table | str) -> None:
        """Print `facts` as JSON, or else `parts`. Raises OutputLost."""
        if self.as_json:
            data = msgspec.json.encode(facts)
            write(json_text(data if self.again else msgspec.json.format(data)))
            return
        console = terminal()
        with console.capture() as captured:
            for part in parts:
                shown = printable(part) if isinstance(part, str) else part
                console.print(fitted(shown, console) if isinstance(shown, Table) and self.fits else shown)
        text = captured.get().rstrip("\n")
        write(_in_place(text, console.height) if self.again and console.is_terminal else text)

    def repeated(self) -> Output:
        """The output of a command that answers again and again."""
        return msgspec.structs.replace(self, again=True)


class Rows(Table):
    """A table of texts from elsewhere: each cell is made printable."""

    def __init__(self, *columns: str) -> None:
        super().__init__(*columns, box=None, pad_edge=False, header_style="bold")

    def add_texts(self, *cells: str, style: str | None = None) -> None:
        """Add one row."""
        self.add_row(*(printable(cell) for cell in cells), style=style)


def _in_place(text: str, height: int) -> str:
    """The text over the one before, in one write: no line is empty for a moment, so nothing flickers."""
    lines = text.split("\n")[: max(1, height - 1)]
    return "\x1b[H" + "\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J"


def terminal() -> Console:
    """Standard output for people. Not kept in the module: a test replaces `sys.stdout`."""
    stream = sys.stdout if sys.stdout is not None else io.StringIO()
    console = Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH, highlight=False, markup=False)
    if console.width < LEAST_WIDTH:
        console.width = LEAST_WIDTH
    return console


def fitted(table: Table, console: Console) -> Table:
    """Fit the table to the width of the console without cutting a cell.

    Returns the table unchanged if it fits, else with addresses and times in two lines, else with a block of lines for
    each row.
    """
    if _fits(table, console):
        return table
    broken = _broken(table)
    return broken if _fits(broken, console) else _blocks(table)


def _fits(table: Table, console: Console) -> bool:
    return Measurement.get(console, console.options.update_width(AMPLE_WIDTH), table).minimum <= console.width


def _broken(table: Table) -> Table:
    broken = Table(box=None, pad_edge=False, header_style=table.header_style)
    for column in table.columns:
        broken.add_column(column.header, no_wrap=column.no_wrap)
    for row in _rows(table):
        broken.add_row(*(BREAKS.sub("\n", cell) for cell in row))
    return broken


def _blocks(table: Table) -> Table:
    blocks = Table(box=None, pad_edge=False, show_header=False)
    blocks.add_column(no_wrap=True, style=table.header_style)
    blocks.add_column(overflow="fold")
    for row in _rows(table):
        if blocks.row_count:
            blocks.add_row()
        for column, cell in zip(table.columns, row, strict=True):
            if cell:
                blocks.add_row(column.header, cell)
    return blocks


def _rows(table: Table) -> list[tuple[str, ...]]:
    return list(zip(*([str(cell) for cell in column.cells] for column in table.columns), strict=True))
