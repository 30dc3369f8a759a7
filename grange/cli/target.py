"""Which cluster a command of the shell asks, and how it shows the answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from grange.cli.table_fitting import fitted
from grange.client.client import Client
from grange.client.options import ClientOptions

T = TypeVar("T")

WIDE = 200
"""Columns of a table that goes into a pipe or file."""


class Target(msgspec.Struct, frozen=True):
    """Which cluster a command asks, and how it shows the answer."""

    gateways: tuple[str, ...]
    cluster: str
    timeout: float
    as_json: bool

    def ask(self, question: Callable[[Client], Awaitable[T]], response_timeout: float = 30.0) -> T:
        """Connect, ask, disconnect."""

        options = ClientOptions(connect_timeout=self.timeout)

        async def connected() -> T:
            async with Client(
                self.gateways,
                cluster=self.cluster,
                name="grange-cli",
                response_timeout=response_timeout,
                options=options,
            ) as client:
                return await question(client)

        return asyncio.run(connected())

    def show(self, facts: Any, *parts: Table | str) -> None:
        """The facts as JSON, or the parts for people."""
        if self.as_json:
            click.echo(msgspec.json.format(msgspec.json.encode(facts)))
            return
        console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False)
        for part in parts:
            console.print(fitted(part, console) if isinstance(part, Table) else part)
