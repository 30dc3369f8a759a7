"""`grange declare-dead`: writes into the membership table that a silo is dead, without waiting for the votes."""

from __future__ import annotations

import click

from grange.cli.act_outcome import carry_out
from grange.cli.cluster_wide import chosen, name_of
from grange.cli.completion import complete_silo
from grange.cli.drain import member_named
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.client.client import Client
from grange.errors import CallNotExecuted
from grange.membership.model.member import SiloStatus
from grange.proto.acts import Act, Action


@click.command("declare-dead")
@click.argument("silo", shell_complete=complete_silo)
@click.option("--reason", required=True, help="Why, for the audit.")
@click.option("--yes", is_flag=True, help="Do not ask for the name of the silo before it is done.")
@asks_a_cluster
def declare_dead_command(cluster: RemoteCluster, output: Output, silo: str, reason: str, yes: bool) -> None:
    """Declare one SILO dead, if it is gone and the cluster has not found that out yet.

    Another silo writes it into the membership table. The silo ends if it still runs: its calls fail, and its grains
    lose what they have not stored. To end a silo that answers, drain it.
    """
    if output.as_json and not yes:
        raise click.UsageError("--json needs --yes, because a program cannot be asked")
    target, asked = cluster.ask(lambda client: _pair(client, silo))
    act = Act(Action.DECLARE_DEAD, target, reason=reason)
    carry_out(cluster, output, act, asked, confirm=not yes, typed="" if yes else target)


async def _pair(client: Client, text: str) -> tuple[str, str]:
    """The silo that is meant, and the address of another one, which declares it."""
    member = member_named(client.view, text)
    if member.status is SiloStatus.DEAD:
        raise CallNotExecuted(f"silo {name_of(member)} ({member.address}) is dead already")
    others = [each for each in chosen(client.view, "") if each.address != member.address]
    if not others:
        raise CallNotExecuted(f"no other silo is there to declare {name_of(member)} dead; drain it, or end its process")
    return name_of(member), str(others[0].address)
