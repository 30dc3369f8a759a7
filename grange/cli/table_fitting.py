"""A table of the command line on a terminal that is too narrow for it: no cell is cut short."""

from __future__ import annotations

import re

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

BREAKS = re.compile(r"(?<=\d)(?=[@T])")
"""Where a silo's address and a time may be broken: before the generation, and before the hour."""

AMPLE = 10_000
"""Columns of a terminal on which every table has room."""


def fitted(table: Table, console: Console) -> Table:
    """The table as it is if it has room, else with addresses and times in two lines, else a block for each row."""
    if _fits(table, console):
        return table
    broken = _broken(table)
    return broken if _fits(broken, console) else _blocks(table)


def _fits(table: Table, console: Console) -> bool:
    return Measurement.get(console, console.options.update_width(AMPLE), table).minimum <= console.width


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
