"""One question to every silo of a cluster, all at once: the answers, and the silos that gave none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec

from grange.cli.drain import member_named
from grange.cli.inspect import gateway_address
from grange.client.client import Client
from grange.errors import CallError, HandshakeRefused, NoSuchGrain, Unauthorized
from grange.membership.model.member import Member, SiloStatus, View

A = TypeVar("A")

ASK_TIMEOUT = 5.0
"""Seconds for the answer of one silo. A search has a budget of its own below that."""


class Answers(msgspec.Struct, Generic[A], frozen=True):
    """The answers by silo, and what is wrong with the silos that gave none."""

    given: tuple[tuple[Member, A], ...]
    problems: tuple[tuple[Member, str], ...] = ()

    def notes(self) -> list[str]:
        """A line for each silo that did not answer."""
        return [f"{name_of(member)}: no answer: {problem}" for member, problem in self.problems]

    def problem_facts(self) -> list[dict[str, str]]:
        """The same for programs."""
        return [{"silo": str(member.address), "problem": problem} for member, problem in self.problems]


class Question(msgspec.Struct, Generic[A], frozen=True):
    """A question to a system target, and the type of its answer."""

    target: str
    body: bytes
    kind: type[A]
    seconds: float = ASK_TIMEOUT


def name_of(member: Member) -> str:
    """The name of a silo for people."""
    return member.name or member.address.endpoint


def chosen(view: View, silo: str) -> list[Member]:
    """The silo of this name, or all that are active or leaving. Raises ConfigurationError for a name that fits none."""
    if silo:
        return [member_named(view, silo)]
    return [each for each in view.with_status(SiloStatus.ACTIVE, SiloStatus.LEAVING) if each.gateway]


async def ask_each(client: Client, members: Iterable[Member], question: Question[A]) -> Answers[A]:
    """Ask these silos. Raises Unauthorized if any refuses the role of the client."""
    found = await asyncio.gather(*(_ask(client, member, question) for member in members))
    given = [(each.member, each.answer) for each in found if each.answer is not None]
    problems = [(each.member, str(each.error)) for each in found if each.error is not None]
    return Answers(tuple(given), tuple(problems))


async def ask_first(client: Client, members: Iterable[Member], question: Question[A]) -> A:
    """The answer of the first of these silos that has one. Raises the error of the last, or NoSuchGrain for none."""
    error: Exception = NoSuchGrain("no silo of the cluster can answer this")
    for member in members:
        found = await _ask(client, member, question)
        if found.answer is not None:
            return found.answer
        error = found.error or error
    raise error


class _Found(msgspec.Struct, Generic[A], frozen=True):
    """One silo's answer, or the error in its place."""

    member: Member
    answer: A | None = None
    error: Exception | None = None


async def _ask(client: Client, member: Member, question: Question[A]) -> _Found[A]:
    try:
        answer = await client.ask(gateway_address(member), question.target, question.body, question.seconds)
        return _Found(member, msgspec.msgpack.decode(answer, type=question.kind))
    except Unauthorized:
        raise
    except (CallError, HandshakeRefused, msgspec.DecodeError) as error:
        return _Found(member, error=error)
