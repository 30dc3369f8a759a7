"""`grange dev`: a cluster of silo processes on this machine."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from grange.cli.completion import complete_silo_variable
from grange.cli.dev import DevOptions, LocalCluster
from grange.cli.logs import LEVELS
from grange.cli.process import StopSignals
from grange.cli.silo_import import named_silo
from grange.cli.streams import write
from grange.printable import printable

_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")


@click.command("dev")
@click.argument(
    "app", metavar="[MODULE:SILO]", default="grange.cli.demo_silo:silo", shell_complete=complete_silo_variable
)
@click.option("--silos", type=click.IntRange(1, 32), default=2, show_default=True, help="Number of silos.")
@click.option(
    "--data", type=click.Path(path_type=Path), default=Path(".grange"), show_default=True, help="Folder for state."
)
@click.option("--log-level", type=click.Choice(LEVELS), default="warning", show_default=True)
@click.option("--reload/--no-reload", default=True, show_default=True, help="Reload the silos when a file changes.")
@click.option("--with", "commands", multiple=True, metavar="COMMAND", help="Run this, too; {gateways} stands for them.")
def dev_command(app: str, silos: int, data: Path, log_level: str, reload: bool, commands: tuple[str, ...]) -> None:
    """Run a cluster of several silos on this machine, on free ports, until Ctrl-C.

    Without MODULE:SILO it runs a counter grain for trying calls. When a file of the application changes, the silos are
    reloaded one after another: each drains, and its successor has the new code. State and the other silos stay.
    """
    named_silo(app)  # report an error of the module once, here, and not from every process
    names = [f"silo-{number}" for number in range(1, silos + 1)]
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    colours = dict(zip(names, _COLOURS * 6, strict=False))

    def show(name: str, line: str) -> None:
        prefix = f"{name} | " if name else ""
        if name and is_terminal:
            prefix = click.style(prefix, fg=colours[name])
        write(prefix + printable(line))

    cluster = LocalCluster(DevOptions(app, names, data, log_level, reload, commands), show)
    with StopSignals(cluster.kill) as signals:
        code = asyncio.run(cluster.run(signals))
    if code:
        raise click.exceptions.Exit(code)
