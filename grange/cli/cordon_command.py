"""`grange cordon` and `grange uncordon`: whether one silo takes new grains."""

from __future__ import annotations

import click

from grange.cli.act_outcome import carry_out
from grange.cli.completion import complete_silo
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.proto.acts import Act, Action


@click.command("cordon")
@click.argument("silo", shell_complete=complete_silo)
@click.option("--reason", required=True, help="Why, for the audit.")
@asks_a_cluster
def cordon_command(cluster: RemoteCluster, output: Output, silo: str, reason: str) -> None:
    """Place no new grains on one SILO; its own stay, and their calls go on.

    A restart of the silo ends it. It has no effect on a type whose silos are all cordoned.
    """
    carry_out(cluster, output, Act(Action.CORDON, reason=reason), silo)


@click.command("uncordon")
@click.argument("silo", shell_complete=complete_silo)
@click.option("--reason", default="", help="Why, for the audit.")
@asks_a_cluster
def uncordon_command(cluster: RemoteCluster, output: Output, silo: str, reason: str) -> None:
    """Place new grains on one SILO again."""
    carry_out(cluster, output, Act(Action.UNCORDON, reason=reason), silo)
