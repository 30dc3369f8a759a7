"""The output of a command: JSON for programs, or texts and tables for people, fitted to the width of the terminal."""

from __future__ import annotations

import re
import sys
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

PIPE_WIDTH = 200
"""Columns for output into a pipe or a file."""

BREAKS = re.compile(r"(?<=\d)(?=[@T])")
"""Where a cell may break: before the generation of a silo's address, and before the hour of a time."""

AMPLE_WIDTH = 10_000
"""Columns that are enough for every table; used to measure the least width of one."""


class Output(msgspec.Struct, frozen=True):
    """How a command shows its answer: `as_json` for programs."""

    as_json: bool

    def show(self, facts: Any, *parts: Table | str) -> None:
        """Print `facts` as JSON, or else `parts`."""
        if self.as_json:
            click.echo(msgspec.json.format(msgspec.json.encode(facts)))
            return
        console = terminal()
        for part in parts:
            console.print(fitted(part, console) if isinstance(part, Table) else part)


def terminal() -> Console:
    """Standard output for people. Not kept in the module: a test replaces `sys.stdout`."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False)


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
