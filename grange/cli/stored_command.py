"""`grange stored TYPE`: the stored grains of one type, by key, or those with these values in indexed fields."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from grange.cli.cluster_wide import ask_first, hosts_of
from grange.cli.completion import complete_grain_type
from grange.cli.grain_arguments import type_alone
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.cli.tables import table_of
from grange.client.client import Client
from grange.client.questions import Question
from grange.errors import InvalidCall
from grange.proto.queries import (
    FIND_GRAINS,
    LIST_GRAINS,
    MAX_PAGE,
    FindGrains,
    FoundGrains,
    ListedGrains,
    ListGrains,
)

TIMEOUT = 10.0
"""Seconds for the answer of a silo, which asks its store."""


@click.command("stored")
@click.argument("grain_type", metavar="TYPE", shell_complete=complete_grain_type, callback=type_alone)
@click.option("--prefix", default="", help="Keys that begin so.")
@click.option("--locate", is_flag=True, help="Also show on which silo each grain is active.")
@click.option("--where", metavar="FIELD=VALUE", multiple=True, help="With this value in an indexed field.")
@click.option("--state", default="", help="With --where or --order-by: the state with these fields.")
@click.option("--order-by", metavar="FIELD", default="", help="By the value of this indexed field.")
@click.option("--descending", is_flag=True, help="With --order-by: the highest value first.")
@click.option("--limit", type=click.IntRange(1, MAX_PAGE), default=100, show_default=True, help="Grains of one answer.")
@click.option("--cursor", default="", help="Continue after an answer that showed this cursor.")
@asks_a_cluster
def stored_command(cluster: RemoteCluster, output: Output, grain_type: str, **options: Any) -> None:
    """The stored grains of one TYPE, by key, or those with these values in indexed fields."""
    if not (options["where"] or options["order_by"]):
        useless = next((name for name in ("state", "descending") if options[name]), None)
        if useless is not None:
            raise click.UsageError(f"--{useless} has no effect without --where or --order-by")
        names = ("prefix", "cursor", "limit", "locate")
        _list(cluster, output, ListGrains(grain_type, *(options[name] for name in names)))
        return
    useless = next((name for name in ("prefix", "locate") if options[name]), None)
    if useless is not None:
        raise click.UsageError(f"--{useless} has no effect with --where or --order-by")
    where = msgspec.json.encode(dict(map(_pair, options["where"])))
    fields = ("state", "order_by", "descending", "cursor", "limit")
    _find(cluster, output, FindGrains(grain_type, where, *(options[name] for name in fields)))


def _list(cluster: RemoteCluster, output: Output, query: ListGrains) -> None:
    async def question(client: Client) -> ListedGrains:
        asked = Question(LIST_GRAINS, msgspec.msgpack.encode(query), ListedGrains, TIMEOUT)
        return await ask_first(client, hosts_of(client.view, query.type), asked)

    found = cluster.ask(question)
    _check(found.refused)
    columns = ("grain", "states", "active on") if query.locate else ("grain", "states")
    table = table_of(*columns)
    for row in found.rows:
        silo = "" if row.silo is None else str(row.silo)
        table.add_texts(*(f"{query.type}/{row.key}", ", ".join(row.states), silo)[: len(columns)])
    grains = [
        {"key": row.key, "states": list(row.states), "silo": None if row.silo is None else str(row.silo)}
        for row in found.rows
    ]
    output.show({"type": query.type, "grains": grains, "cursor": found.cursor}, table, *_more(found.cursor))


def _find(cluster: RemoteCluster, output: Output, query: FindGrains) -> None:
    async def question(client: Client) -> FoundGrains:
        asked = Question(FIND_GRAINS, msgspec.msgpack.encode(query), FoundGrains, TIMEOUT)
        return await ask_first(client, hosts_of(client.view, query.type), asked)

    found = cluster.ask(question)
    _check(found.refused)
    table = table_of("grain")
    for key in found.keys:
        table.add_texts(f"{query.type}/{key}")
    grains = [{"key": key} for key in found.keys]
    output.show({"type": query.type, "grains": grains, "cursor": found.cursor}, table, *_more(found.cursor))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.UsageError(f"--where {text!r}: write FIELD=VALUE")
    return name, value


def _check(refused: str) -> None:
    if refused:
        raise InvalidCall(refused)


def _more(cursor: str) -> list[str]:
    return [f"more: --cursor {cursor}"] if cursor else []
