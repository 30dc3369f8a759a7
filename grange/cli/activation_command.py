"""`grange activation` and `grange state`: one activation in detail, and the stored states of a grain."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from grange.cli.cluster_wide import Answers, ask_first, ask_silos, hosts_of, name_of
from grange.cli.grain_arguments import one_grain
from grange.cli.output import Output, Rows
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.cli.tables import duration, table_of
from grange.cli.watch import watched
from grange.client.client import Client
from grange.client.questions import Question
from grange.errors import NoSuchGrain
from grange.membership.model.member import Member
from grange.proto.ids import GrainId
from grange.proto.inspection import DETAIL, STATE, ActivationDetail, ReadState, RequestRow, States
from grange.proto.management import encode


@click.command("activation")
@one_grain
@asks_a_cluster
@watched
def activation_command(cluster: RemoteCluster, output: Output, grain: GrainId) -> None:
    """The activation of one grain: where it is, its requests and the stack of its turn, its timers and states."""

    async def question(client: Client) -> Answers[ActivationDetail]:
        kind: Any = ActivationDetail | None  # None: it is not there
        return await ask_silos(client, hosts_of(client.view, grain.type), Question(DETAIL, encode(grain), kind))

    answers = cluster.ask(question)
    if not answers.given:
        raise NoSuchGrain("; ".join([f"no silo has an activation of {grain}", *answers.notes()]))
    details = [msgspec.to_builtins(detail) for _, detail in answers.given]
    parts: list[Any] = []
    for member, detail in answers.given:
        parts += _shown(member, detail)
    output.show(details, *parts)


@click.command("state")
@one_grain
@click.argument("name", required=False, default="")
@asks_a_cluster
@watched
def show_states_command(cluster: RemoteCluster, output: Output, grain: GrainId, name: str) -> None:
    """The stored states of one grain as JSON, or the one with this NAME. Secrets in them are hidden."""
    asked = ReadState(grain, name)

    async def question(client: Client) -> States:
        return await ask_first(client, hosts_of(client.view, grain.type), Question(STATE, encode(asked), States))

    states = cluster.ask(question)
    facts = [msgspec.to_builtins(row) for row in states.rows]
    parts: list[str] = []
    for row in states.rows:
        parts.append(f"{row.name}: etag {row.etag or 'none'}, {row.size} bytes, in storage {row.provider!r}")
        parts.append((row.json or "(too large to be shown)") if row.size else "(no stored value)")
        parts += ["(the rest is left out)"] if row.cut else []
    output.show(facts, *(parts or ["this grain type has no persistent state"]))


def _shown(member: Member, detail: ActivationDetail) -> list[Any]:
    row = detail.row
    head = [
        f"{row.grain_id} is {row.phase} on {name_of(member)} ({detail.address})",
        f"  since {duration(row.age)}, idle {duration(row.idle)}, placed by {detail.placement}, view {detail.view}",
        f"  the directory has {detail.registered or 'no entry'}",
    ]
    head += [f"  it ends: {detail.ending}"] if detail.ending else []
    states = [f"  states: {', '.join(detail.states)}"] if detail.states else []
    return [*head, *states, *_requests("running", detail.running), *_requests("waiting", detail.waiting)]


def _requests(title: str, requests: tuple[RequestRow, ...]) -> list[Any]:
    if not requests:
        return []
    table: Rows = table_of(title, "caller", "identity", "for", "left")
    for request in requests:
        left = duration(request.left) if request.left >= 0 else ""
        table.add_texts(request.method, request.caller, request.identity or "none", duration(request.seconds), left)
    awaited = [f"  {request.method} waits for {call}" for request in requests for call in request.awaits]
    stacks = [f"  {line}" for request in requests for line in request.stack]
    return [table, *awaited, *stacks]
