"""The commands that show a cluster: `grange status`, `silos` and `grains`."""

from __future__ import annotations

from typing import Any

import click

from grange.cli import tables
from grange.cli.cluster_wide import Answers, activations_by_type, ask_silos, chosen
from grange.cli.completion import complete_grain_type, complete_silo
from grange.cli.find_command import SORTS, list_activations
from grange.cli.grain_arguments import type_alone
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, Seconds, asks_a_cluster
from grange.cli.watch import watched
from grange.client.client import Client
from grange.client.questions import Question
from grange.membership.model.member import SiloStatus, View
from grange.proto.inspection import MAX_ROWS, FindActivations
from grange.proto.management import STATUS, SiloState

ASK_TIMEOUT = 2.0
"""Seconds for the answer of one silo. `grange status` is a health check: it must not wait for a silo that hangs."""


@click.command("status")
@asks_a_cluster
@watched
def status_command(cluster: RemoteCluster, output: Output) -> None:
    """The state of every silo. Fails when no gateway answers.

    With --here it asks this machine's own silo, and so serves as the health check of a container.
    """

    view, answers = cluster.ask(_states)
    facts = {
        "cluster": cluster.name,
        "version": view.version,
        "silos": [tables.state_facts(answer) for answer in answers.every],
    }
    head = f"cluster {cluster.name!r}, version {view.version}, {len(view.active)} active"
    output.show(facts, head, tables.status_table(answers.every))


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
@click.argument("grain_type", metavar="[TYPE]", default="", shell_complete=complete_grain_type, callback=type_alone)
@click.option("--prefix", default="", help="Of TYPE: keys that begin so.")
@click.option("--contains", default="", help="Of TYPE: keys with this text inside.")
@click.option("--phase", type=click.Choice(["activating", "active", "deactivating"]), help="Of TYPE: in this phase.")
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

    view, answers = cluster.ask(_states)
    counts = activations_by_type(
        (each.member, None if each.answer is None else each.answer.activations) for each in answers.every
    )
    output.show(counts, tables.types_table(counts, view), *answers.notes())


async def _states(client: Client) -> tuple[View, Answers[SiloState]]:
    asked = Question(STATUS, b"", SiloState, ASK_TIMEOUT)
    return client.view, await ask_silos(client, chosen(client.view, ""), asked)
