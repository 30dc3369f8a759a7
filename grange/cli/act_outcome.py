"""One act on some silos: previewed, confirmed, done, and shown with the outcome on each silo."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from grange.cli.asked_act import asked_act
from grange.cli.cluster_wide import chosen, name_of
from grange.cli.exit_codes import ExitCode
from grange.cli.output import Output
from grange.cli.remote import RemoteCluster
from grange.client.client import Client
from grange.client.questions import gateway_address
from grange.errors import CallError, CallNotExecuted, HandshakeRefused, Unauthorized
from grange.membership.model.member import Member
from grange.printable import printable
from grange.proto.acts import Act, Acted, Outcome

ACT_TIMEOUT = 10.0
"""Seconds for the answer of one silo. After that it is unknown whether the act was done there."""

Results = Sequence[tuple[Member, Acted]]


def carry_out(
    cluster: RemoteCluster, output: Output, act: Act, silo: str = "", *, confirm: bool = False, typed: str = ""
) -> None:
    """Do it on this silo, or on all. With `confirm`, show first what it would do, and ask the person.

    `typed`: a word that the person must type for that, instead of yes.

    Exits with 1 if it was refused or failed anywhere or found nothing to do, and with 9 if an outcome is unknown.
    """

    async def previewed(client: Client) -> Results:
        return await _on_each(client, chosen(client.view, silo), [msgspec.structs.replace(act, preview=True)])

    async def done(client: Client, seen: Results) -> Results:
        members = [member for member, _ in seen]
        acts = [msgspec.structs.replace(act, expect=acted.expect) for _, acted in seen]
        return await _on_each(client, members, acts)

    seen = cluster.ask(previewed)
    useful = [(member, acted) for member, acted in seen if acted.outcome is Outcome.PREVIEWED and acted.count]
    if not useful:
        _show(output, seen)
        raise click.exceptions.Exit(ExitCode.FAILED)
    if confirm:
        _ask_person(useful, typed)
    results = cluster.ask(lambda client: done(client, useful))
    _show(output, results)
    outcomes = {acted.outcome for _, acted in results}
    if outcomes != {Outcome.DONE}:
        raise click.exceptions.Exit(ExitCode.UNKNOWN if Outcome.UNKNOWN in outcomes else ExitCode.FAILED)


def _ask_person(seen: Results, typed: str) -> None:
    """Show what would be done. Raises click.Abort unless the person agrees."""
    for member, acted in seen:
        click.echo(printable(f"{name_of(member)}: {acted.text}"), err=True)
    if not typed:
        click.confirm("Do it?", abort=True, err=True)
    elif click.prompt(f"Type {printable(typed)} to do it", default="", show_default=False, err=True) != typed:
        raise click.Abort


async def _on_each(client: Client, members: Sequence[Member], acts: Sequence[Act]) -> Results:
    """The answers of these silos: to the one act, or each to its own."""
    wanted = [*acts] * len(members) if len(acts) == 1 else acts
    pairs = zip(members, wanted, strict=True)
    answers = await asyncio.gather(*(_on(client, member, act) for member, act in pairs))
    return list(zip(members, answers, strict=True))


async def _on(client: Client, member: Member, act: Act) -> Acted:
    try:
        return await asked_act(client.ask, gateway_address(member), act, ACT_TIMEOUT)
    except Unauthorized:
        raise
    except (CallNotExecuted, HandshakeRefused) as error:
        return Acted(member.address, Outcome.REFUSED, str(error))
    except CallError as error:
        return Acted(member.address, Outcome.UNKNOWN, str(error))


def _show(output: Output, results: Results) -> None:
    facts: list[dict[str, Any]] = [
        {
            "silo": str(member.address), "name": member.name, "outcome": str(acted.outcome), "text": acted.text,
            "count": acted.count,
        }
        for member, acted in results
    ]  # fmt: skip
    lines = [f"{name_of(member)}: {acted.outcome}: {acted.text}" for member, acted in results]
    output.show(facts, *(lines or ["no silo is active"]))
