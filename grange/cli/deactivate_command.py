"""`grange deactivate`: ends activations; the next call activates the grain again, from its stored state."""

from __future__ import annotations

import click

from grange.cli.act_outcome import carry_out
from grange.cli.completion import complete_grain, complete_silo
from grange.cli.grain_arguments import no_key_apart
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.proto.acts import Act, Action


@click.command("deactivate")
@click.argument("target", metavar="TYPE[/KEY]", shell_complete=complete_grain)
@click.argument("apart", metavar="", nargs=-1, expose_value=False, callback=no_key_apart)
@click.option("--reason", required=True, help="Why, for the audit.")
@click.option("--silo", default="", shell_complete=complete_silo, help="On this silo only.")
@click.option("--yes", is_flag=True, help="Do not ask before it is done.")
@asks_a_cluster
def deactivate_command(cluster: RemoteCluster, output: Output, target: str, yes: bool, **options: str) -> None:
    """End the activation of one grain, or all activations of a TYPE, after their running requests.

    It shows first how many there are, and asks. The next call activates a grain again, from its stored state.
    """
    if output.as_json and not yes:
        raise click.UsageError("--json needs --yes, because a program cannot be asked")
    carry_out(
        cluster, output, Act(Action.DEACTIVATE, target, reason=options["reason"]), options["silo"], confirm=not yes
    )
