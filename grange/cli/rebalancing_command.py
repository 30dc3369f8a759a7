"""`grange rebalancing`: what the rebalancers of the silos do; suspends and resumes them."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from grange.cli.act_outcome import carry_out
from grange.cli.cluster_wide import ask_silos, chosen, name_of
from grange.cli.output import Output, Rows
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.cli.tables import duration, table_of
from grange.client.client import Client
from grange.client.questions import Question
from grange.proto.acts import Act, Action
from grange.proto.management import REBALANCING, RebalancingState


@click.command("rebalancing")
@click.option("--suspend", type=float, metavar="SECONDS", help="Move nothing for so long, on any silo.")
@click.option("--resume", is_flag=True, help="End the suspension.")
@click.option("--reason", default="", help="Why, for the audit.")
@asks_a_cluster
def rebalancing_command(
    cluster: RemoteCluster, output: Output, suspend: float | None, resume: bool, reason: str
) -> None:
    """How the activations are balanced over the silos, what moved and what holds it up; or suspend and resume it."""
    if suspend is not None and resume:
        raise click.UsageError("--suspend and --resume contradict each other")
    if suspend is not None:
        values = msgspec.json.encode({"seconds": suspend}).decode()
        carry_out(cluster, output, Act(Action.SUSPEND_REBALANCING, values=values, reason=reason))
    elif resume:
        carry_out(cluster, output, Act(Action.RESUME_REBALANCING, reason=reason))
    else:
        _report(cluster, output)


def _report(cluster: RemoteCluster, output: Output) -> None:
    async def question(client: Client) -> list[RebalancingState]:
        answers = await ask_silos(client, chosen(client.view, ""), Question(REBALANCING, b"", RebalancingState))
        names.update({str(member.address): name_of(member) for member, _ in answers.given})
        return [state for _, state in answers.given]

    names: dict[str, str] = {}
    states = cluster.ask(question)
    table: Rows = table_of("silo", "state", "activations", "mean", "imbalance", "last round", "moved", "failed")
    for each in states:
        state = f"{each.state} for {duration(each.suspended)}" if each.suspended else each.state
        table.add_texts(
            names[str(each.address)], state, f"{each.activations}", f"{each.mean:.0f}", f"{each.imbalance:.0%}",
            f"{each.last_round}", f"{each.moved}", f"{each.failed}",
        )  # fmt: skip
    output.show([_facts(each, names[str(each.address)]) for each in states], table)


def _facts(state: RebalancingState, name: str) -> dict[str, Any]:
    return {"name": name, **msgspec.to_builtins(state), "address": str(state.address)}
