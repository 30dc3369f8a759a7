"""The commands that show a cluster: `grange status`, `silos` and `grains`."""

from __future__ import annotations

from typing import Any

import click

from grange.cli import tables
from grange.cli.completion import complete_grain_type, complete_silo
from grange.cli.find_command import SORTS, list_activations
from grange.cli.inspect import activations_by_type, silo_states
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, Seconds, asks_a_cluster
from grange.cli.watch import watched
from grange.client.client import Client
from grange.membership.model.member import SiloStatus
from grange.proto.inspection import MAX_ROWS, FindActivations

ASK_TIMEOUT = 2.0
"""Seconds for the answer of one silo. `grange status` is a health check: it must not wait for a silo that hangs."""


@click.command("status")
@asks_a_cluster
@watched
def status_command(cluster: RemoteCluster, output: Output) -> None:
    """The state of every silo. Fails when no gateway answers.

    With --here it asks this machine's own silo, and so serves as the health check of a container.
    """

    async def question(client: Client) -> Any:
        return client.view, await silo_states(client.ask, client.view, ASK_TIMEOUT)

    view, answers = cluster.ask(question)
    facts = {
        "cluster": cluster.name,
        "version": view.version,
        "silos": [tables.state_facts(answer) for answer in answers],
    }
    head = f"cluster {cluster.name!r}, version {view.version}, {len(view.active)} active"
    output.show(facts, head, tables.status_table(answers))


@click.command("silos")
@click.option("--all", "dead_too", is_flag=True, help="Show dead silos, too.")
@asks_a_cluster
@watched
def silos_command(cluster: RemoteCluster, output: Output, dead_too: bool) -> None:
    """The members of the cluster, as the membership table has them."""

    async def question(client: Client) -> Any:
        return client.view

    members = [each for each in cluster.ask(question).members if dead_too or each.status is not SiloStatus.DEAD]
    output.show([tables.member_facts(member) for member in members], tables.silos_table(members))


@click.command("grains")
@click.argument("grain_type", metavar="[TYPE]", default="", shell_complete=complete_grain_type)
@click.option("--prefix", default="", help="Of TYPE: keys that begin so.")
@click.option("--contains", default="", help="Of TYPE: keys with this text inside.")
@click.option(
    "--phase", type=click.Choice(["activating", "active", "closing", "ending"]), help="Of TYPE: in this phase."
)
@click.option("--silo", default="", shell_complete=complete_silo, help="Of TYPE: on this silo only.")
@click.option("--idle", "min_idle", type=Seconds(0.0), default=0.0, help="Of TYPE: idle for so many seconds.")
@click.option("--waiting", "min_waiting", type=click.IntRange(0), default=0, help="Of TYPE: with so many waiting.")
@click.option("--turn", "min_turn", type=Seconds(0.0), default=0.0, help="Of TYPE: whose turn lasts so many seconds.")
@click.option("--sort", type=click.Choice(SORTS), default="key", show_default=True, help="Of TYPE: the order.")
@click.option("--limit", type=click.IntRange(1, MAX_ROWS), default=100, show_default=True, help="Of TYPE: per silo.")
@click.option("--cursor", default="", help="Of TYPE: continue after an answer that showed this cursor.")
@asks_a_cluster
@watched
def grains_command(cluster: RemoteCluster, output: Output, grain_type: str, silo: str, **filters: Any) -> None:
    """The grain types of the cluster with their activations, or the activations of one TYPE."""
    if grain_type:
        given = {name: value for name, value in filters.items() if value is not None}
        list_activations(cluster, output, FindActivations(grain_type, **given), silo)
        return
    if silo or any(value for name, value in filters.items() if name not in ("sort", "limit")):
        raise click.UsageError("name a TYPE: a filter is about the activations of one type")

    async def question(client: Client) -> Any:
        return client.view, await silo_states(client.ask, client.view, ASK_TIMEOUT)

    view, answers = cluster.ask(question)
    counts = activations_by_type(answers)
    output.show(counts, tables.types_table(counts, view), *tables.problems(answers))
