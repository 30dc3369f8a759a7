"""Asks every silo of a cluster for its state: one question each, all at once. A missing answer is part of the result.

If all refuse the role of the client, each function raises Unauthorized.

Called by the commands, which pass `Client.ask`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec

from grange.errors import CallError, HandshakeRefused, Unauthorized
from grange.membership.model.member import Member, SiloStatus, View
from grange.proto.ids import SiloAddress
from grange.proto.management import GRAINS, STATUS, GrainList, ListGrains, SiloState, encode

A = TypeVar("A")

Ask = Callable[[SiloAddress, str, bytes, float], Awaitable[bytes]]
"""Asks a system target of the silo with this gateway; the last argument is the time-out in seconds."""


class Answer(msgspec.Struct, Generic[A], frozen=True):
    """The answer of one silo. Without one, `answer` is None and `problem` is the reason. `refused`: the role lacks."""

    member: Member
    answer: A | None
    problem: str = ""
    refused: bool = False


async def silo_states(ask: Ask, view: View, seconds: float) -> list[Answer[SiloState]]:
    """The state of each active or leaving silo. `seconds` is the time-out for one silo."""
    return await _ask_all(ask, view, (STATUS, b"", seconds), SiloState)


async def grain_lists(ask: Ask, view: View, query: ListGrains, seconds: float) -> list[Answer[GrainList]]:
    """The activations of each active or leaving silo. `seconds` is the time-out for one silo."""
    return await _ask_all(ask, view, (GRAINS, encode(query), seconds), GrainList)


def activations_by_type(answers: list[Answer[SiloState]]) -> dict[str, dict[str, int]]:
    """Grain type to activations per silo name. A hosted type without activations maps to an empty dictionary."""
    counts: dict[str, dict[str, int]] = {name: {} for answer in answers for name in answer.member.grains}
    for state in (answer.answer for answer in answers if answer.answer is not None):
        for name, count in state.activations.items():
            counts.setdefault(name, {})[state.name] = count
    return dict(sorted(counts.items()))


def gateway_address(member: Member) -> SiloAddress:
    """The address by which a client asks this silo: host, gateway port, generation."""
    return SiloAddress(member.address.host, member.gateway, member.address.generation)


async def _ask_all(ask: Ask, view: View, question: tuple[str, bytes, float], kind: type[A]) -> list[Answer[A]]:
    members = [each for each in view.with_status(SiloStatus.ACTIVE, SiloStatus.LEAVING) if each.gateway]
    answers = list(await asyncio.gather(*(_ask_one(ask, member, question, kind) for member in members)))
    if answers and all(answer.refused for answer in answers):
        raise Unauthorized(answers[0].problem)
    return answers


async def _ask_one(ask: Ask, member: Member, question: tuple[str, bytes, float], kind: type[A]) -> Answer[A]:
    try:
        return Answer(member, msgspec.msgpack.decode(await ask(gateway_address(member), *question), type=kind))
    except (CallError, HandshakeRefused, msgspec.DecodeError) as error:
        return Answer(member, None, str(error), refused=isinstance(error, Unauthorized))
