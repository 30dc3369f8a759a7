"""`grange move`: moves the activation of one grain to another silo, with what it carries."""

from __future__ import annotations

import click
import msgspec

from grange.cli.act_outcome import carry_out
from grange.cli.completion import complete_silo
from grange.cli.grain_arguments import one_grain
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.proto.acts import Act, Action
from grange.proto.ids import GrainId


@click.command("move")
@one_grain
@click.option("--to", default="", shell_complete=complete_silo, help="The silo; else the placement chooses another.")
@click.option("--reason", required=True, help="Why, for the audit.")
@click.option("--yes", is_flag=True, help="Do not ask before it is done.")
@asks_a_cluster
def move_command(cluster: RemoteCluster, output: Output, grain: GrainId, yes: bool, **options: str) -> None:
    """Move the activation of one grain to another silo, after its running requests.

    It keeps in memory what its class carries (`dehydrate`). It shows first what it would do, and asks. The tables of
    stores have another command, `grange migrate`.
    """
    if output.as_json and not yes:
        raise click.UsageError("--json needs --yes, because a program cannot be asked")
    values = msgspec.json.encode({"to": options["to"]}).decode()
    carry_out(cluster, output, Act(Action.MOVE, str(grain), values, options["reason"]), confirm=not yes)
