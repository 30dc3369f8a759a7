"""`grange collect`: ends the activations that have been idle for a while, without waiting for their time-out."""

from __future__ import annotations

import click
import msgspec

from grange.cli.act_outcome import carry_out
from grange.cli.completion import complete_silo
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, Seconds, asks_a_cluster
from grange.proto.acts import Act, Action


@click.command("collect")
@click.option("--idle", type=Seconds(0.0), required=True, help="Those without a request for so many seconds.")
@click.option("--reason", required=True, help="Why, for the audit.")
@click.option("--silo", default="", shell_complete=complete_silo, help="On this silo only.")
@click.option("--yes", is_flag=True, help="Do not ask before it is done.")
@asks_a_cluster
def collect_command(cluster: RemoteCluster, output: Output, idle: float, reason: str, silo: str, yes: bool) -> None:
    """End the activations that are idle, on all silos or one, to free their memory.

    It shows first how many activations there are, and asks. Those with running or waiting requests stay.
    """
    if output.as_json and not yes:
        raise click.UsageError("--json needs --yes, because a program cannot be asked")
    values = msgspec.json.encode({"idle": idle}).decode()
    carry_out(cluster, output, Act(Action.COLLECT, values=values, reason=reason), silo, confirm=not yes)
