"""One question to many silos of a cluster at once; a missing answer is part of the result.

The command line and the dashboard ask by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from grange.client.client import Client
from grange.errors import GrangeError, Unauthorized
from grange.membership.model.member import Member
from grange.proto.ids import SiloAddress

A = TypeVar("A")

AskSilo = Callable[[Member, str, bytes, float], Awaitable[bytes]]
"""Asks a system target of one silo; the last argument is the time-out in seconds."""


class Question(msgspec.Struct, Generic[A], frozen=True):
    """A question to a system target, the type of its answer, and the seconds for the answer of one silo."""

    target: str
    body: bytes
    kind: type[A]
    seconds: float = 5.0


class Answer(msgspec.Struct, Generic[A], frozen=True):
    """The answer of one silo. Without one, `answer` is None, `problem` is the reason and `error` its error."""

    member: Member
    answer: A | None
    problem: str = ""
    error: Exception | None = None

    @property
    def lack(self) -> str:
        """What is shown in place of an answer."""
        return self.problem if self.problem.startswith("no answer") else f"no answer: {self.problem}"


def gateway_address(member: Member) -> SiloAddress:
    """The address by which a client asks this silo: host, gateway port, generation."""
    return SiloAddress(member.address.host, member.gateway, member.address.generation)


def asking(client: Client) -> AskSilo:
    """Asks by the gateways of the silos."""
    return lambda member, target, body, seconds: client.ask(gateway_address(member), target, body, seconds)


async def ask_each(ask: AskSilo, members: Iterable[Member], question: Question[A]) -> list[Answer[A]]:
    """The answers of these silos, in their order. None waits for another beyond the time of the question."""
    return list(await asyncio.gather(*(ask_one(ask, member, question) for member in members)))


async def ask_one(ask: AskSilo, member: Member, question: Question[A]) -> Answer[A]:
    """The answer of one silo. An error, and an answer that cannot be read, are its `problem`."""
    seconds = question.seconds
    try:
        async with asyncio.timeout(seconds):
            answer = await ask(member, question.target, question.body, seconds)
        return Answer(member, msgspec.msgpack.decode(answer, type=question.kind))
    except TimeoutError as error:  # CallTimeout is one, too
        return Answer(member, None, f"no answer within {seconds:g} s", error)
    except (GrangeError, msgspec.DecodeError) as error:
        return Answer(member, None, str(error) or type(error).__name__, error)


def check_role(answers: Iterable[Answer[A]]) -> None:
    """Raise Unauthorized if all silos refused the question because of the role of the asker."""
    refusals = [each.error if isinstance(each.error, Unauthorized) else None for each in answers]
    if refusals and refusals[0] is not None and all(refusals):
        raise refusals[0]
