"""`grange drain`: stop one silo in order, through any gateway of its cluster."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

import click

from grange.cli.completion import complete_silo
from grange.cli.drain import DrainCommand
from grange.cli.exit_codes import ExitCode
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, Seconds, asks_a_cluster
from grange.client.client import Client


@click.command("drain")
@click.argument("silo", shell_complete=complete_silo)
@click.option("--timeout", type=Seconds(0.1), default=150.0, show_default=True, help="Seconds to watch.")
@click.option(
    "--wait/--no-wait",
    default=True,
    help="Watch the silo until it is gone, or only start the drain.",
    show_default=True,
)
@click.option("--reason", default="grange drain", show_default=True, help="Why, for the audit.")
@asks_a_cluster
def drain_command(cluster: RemoteCluster, output: Output, silo: str, timeout: float, wait: bool, reason: str) -> None:
    """Stop one SILO in order: its grains move to other silos, no call fails, its process exits with code 0.

    SILO is a name, host:port or address, as `grange silos` shows them.
    """

    async def question(client: Client) -> DrainCommand:
        command = DrainCommand(client.ask, client.view, silo, reason, not output.as_json)
        with _no_gateway_is_expected():
            await command.run(timeout if wait else None)
        return command

    command = cluster.ask(question)
    output.show(command.facts(), command.text())
    if not command.done:
        raise click.exceptions.Exit(ExitCode.FAILED)


@contextmanager
def _no_gateway_is_expected() -> Generator[None]:
    """Drop the client's warning that no gateway answers: it comes at the end of the last silo, as was asked."""
    log = logging.getLogger("grange.client")
    log.addFilter(_is_unexpected)
    try:
        yield
    finally:
        log.removeFilter(_is_unexpected)


def _is_unexpected(record: logging.LogRecord) -> bool:
    return getattr(record, "event", "") != "no_gateway"
