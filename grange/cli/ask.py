"""The commands that show a cluster: `grange status`, `silos` and `grains`."""

from __future__ import annotations

from typing import Any

import click

from grange.cli import tables
from grange.cli.completion import complete_grain_type
from grange.cli.inspect import activations_by_type, found_activations, silo_states
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.client.client import Client
from grange.errors import NoSuchGrain
from grange.membership.model.member import SiloStatus
from grange.proto.inspection import FindActivations

MOST_LISTED = 1000
"""Most activations of one silo that a command lists."""

ASK_TIMEOUT = 2.0
"""Seconds for the answer of one silo. `grange status` is a health check: it must not wait for a silo that hangs."""


@click.command("status")
@asks_a_cluster
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
def silos_command(cluster: RemoteCluster, output: Output, dead_too: bool) -> None:
    """The members of the cluster, as the membership table has them."""

    async def question(client: Client) -> Any:
        return client.view

    members = [each for each in cluster.ask(question).members if dead_too or each.status is not SiloStatus.DEAD]
    output.show([tables.member_facts(member) for member in members], tables.silos_table(members))


@click.command("grains")
@click.argument("grain_type", metavar="[TYPE]", default="", shell_complete=complete_grain_type)
@click.option("--limit", type=click.IntRange(1, MOST_LISTED), default=100, show_default=True, help="Per silo.")
@asks_a_cluster
def grains_command(cluster: RemoteCluster, output: Output, grain_type: str, limit: int) -> None:
    """The grain types of the cluster with their activations, or the activations of one TYPE."""
    if grain_type:
        _list_activations(cluster, output, FindActivations(grain_type), limit)
        return

    async def question(client: Client) -> Any:
        return client.view, await silo_states(client.ask, client.view, ASK_TIMEOUT)

    view, answers = cluster.ask(question)
    counts = activations_by_type(answers)
    output.show(counts, tables.types_table(counts, view), *tables.problems(answers))


def _list_activations(cluster: RemoteCluster, output: Output, query: FindActivations, limit: int) -> None:
    async def question(client: Client) -> Any:
        known = {name for member in client.view.active for name in member.grains}
        if query.type not in known:
            raise NoSuchGrain(f"no silo hosts {query.type!r}; the types are: {', '.join(sorted(known)) or 'none'}")
        return await found_activations(client.ask, client.view, query, limit, ASK_TIMEOUT)

    answers = cluster.ask(question)
    rows = tables.activation_facts(answers)
    total = sum(answer.answer.matches for answer in answers if answer.answer is not None)
    cut = [f"{len(rows)} of {total} are shown"] if len(rows) < total else []
    facts = {"activations": rows, "total": total}
    output.show(facts, tables.activations_table(rows), *cut, *tables.problems(answers))
