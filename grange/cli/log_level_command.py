"""`grange log-level`: the level of a logger for a while, without a restart."""

from __future__ import annotations

import click
import msgspec

from grange.cli.act_outcome import carry_out
from grange.cli.completion import complete_silo
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, Seconds, asks_a_cluster
from grange.proto.acts import Act, Action


@click.command("log-level")
@click.argument("logger")
@click.argument("level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False))
@click.option("--seconds", type=Seconds(1.0), default=600.0, show_default=True, help="For how long.")
@click.option("--silo", default="", shell_complete=complete_silo, help="On this silo only.")
@click.option("--reason", default="", help="Why, for the audit.")
@asks_a_cluster
def log_level_command(
    cluster: RemoteCluster, output: Output, logger: str, level: str, seconds: float, **options: str
) -> None:
    """Set the level of one LOGGER in the silos of the cluster for a while.

    LOGGER is a name as log lines show it, such as grange.directory, or root.
    """
    values = msgspec.json.encode({"level": level.upper(), "seconds": seconds}).decode()
    carry_out(cluster, output, Act(Action.LOG_LEVEL, logger, values, options["reason"]), options["silo"])
