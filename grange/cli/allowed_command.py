"""`grange allowed` and `grange rules`: who may call what, by the silos that run, and why."""

from __future__ import annotations

from typing import Any

import click

from grange.cli.cluster_wide import Answers, ask_silos, chosen, hosts_of, name_of
from grange.cli.completion import complete_silo
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.cli.tables import table_of
from grange.client.client import Client
from grange.client.questions import Question
from grange.proto.allowed import ALLOWED, RULES, Allowed, AskAllowed, RulesInForce
from grange.proto.identity import Identity
from grange.proto.management import encode
from grange.security.rule import ANONYMOUS

REFUSED = 1
"""The exit code of `grange allowed` for a call that is not allowed, as of a command that failed."""


@click.command("allowed")
@click.argument("who")
@click.argument("call", metavar="TYPE/METHOD")
@click.option("--role", "roles", multiple=True, help="A role of the caller, besides those that the silos give to it.")
@click.option("--tenant", default="", help="The tenant of the caller.")
@click.option("--via", default="", help="What makes the call for the caller, such as grain:cart.")
@click.option("--key", help="The key of the grain, for the policy function.")
@asks_a_cluster
def allowed_command(
    cluster: RemoteCluster, output: Output, who: str, call: str, roles: tuple[str, ...], key: str | None, **facts: str
) -> None:
    """Whether WHO may call a method, by the rules of the silos that host its type, and which rule decides.

    WHO is the subject of an identity, such as spiffe://shop/client/web or user:ann; `anonymous` has none. Exit code 1:
    it may not.
    """
    grain_type, slash, method = call.partition("/")
    if not slash or not grain_type or not method:
        raise click.UsageError(f"{call!r} is no call: give the grain type and the method, as in cart/add")
    identity = None if who == ANONYMOUS else Identity(who, roles, facts["tenant"], facts["via"])
    question = AskAllowed(grain_type, method, identity, key)

    async def ask(client: Client) -> Answers[Allowed]:
        members = hosts_of(client.view, grain_type)
        return await ask_silos(client, members, Question(ALLOWED, encode(question), Allowed))

    answers = cluster.ask(ask)
    table = table_of("silo", "allowed", "mode", "why")
    found = [_allowed_facts(name_of(member), answer) for member, answer in answers.given]
    for each in found:
        table.add_texts(each["silo"], "yes" if each["allowed"] else "no", each["mode"], each["why"])
    notes = ["the policy function was not asked: give --key"] * any(each["function"] == "not asked" for each in found)
    notes += ["the silos do not agree: their rules differ"] * (len({each["allowed"] for each in found}) > 1)
    notes += [f"silo {each['silo']}: {grain_type} has no method {method}" for each in found if each["unknown"]]
    output.show({"answers": found, "problems": answers.problem_facts()}, table, *notes, *answers.notes())
    if not all(each["allowed"] for each in found):
        raise click.exceptions.Exit(REFUSED)


def _allowed_facts(silo: str, answer: Allowed) -> dict[str, Any]:
    roles = () if answer.identity is None else answer.identity.roles
    return {
        "silo": silo, "allowed": answer.allowed, "why": answer.why, "by": list(answer.by), "mode": answer.mode,
        "function": answer.function, "roles": list(roles), "unknown": answer.unknown,
    }  # fmt: skip


@click.command("rules")
@click.option("--silo", default="", shell_complete=complete_silo, help="Of this silo only.")
@asks_a_cluster
def rules_command(cluster: RemoteCluster, output: Output, silo: str) -> None:
    """Who may call what on each silo: the rules, what methods require, and notes about both."""

    async def ask(client: Client) -> Answers[RulesInForce]:
        return await ask_silos(client, chosen(client.view, silo), Question(RULES, b"", RulesInForce))

    answers = cluster.ask(ask)
    found = [_rules_facts(name_of(member), answer) for member, answer in answers.given]
    table = table_of("silo", "mode", "rule or requirement")
    for each in found:
        needs = [f"{place} needs {' and '.join(words)}" for place, words in each["requires"].items()]
        lines = [*each["rules"], *needs, *(["the policy function authorize="] if each["function"] else [])]
        for line in lines or ["nothing"]:
            table.add_texts(each["silo"], each["mode"], line)
    notes = [f"{each['silo']}: {note}" for each in found for note in each["notes"]]
    output.show({"silos": found, "problems": answers.problem_facts()}, table, *notes, *answers.notes())


def _rules_facts(silo: str, answer: RulesInForce) -> dict[str, Any]:
    return {
        "silo": silo, "mode": answer.mode, "rules": list(answer.rules), "function": answer.function,
        "requires": {place: list(words) for place, words in answer.requires.items()}, "notes": list(answer.notes),
    }  # fmt: skip
