"""The contract between the dashboard and the cluster that it shows, and questions to all silos at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

import msgspec

from grange.client.client import Client
from grange.errors import GrangeError
from grange.membership.model.member import Member, SiloStatus, View
from grange.proto.ids import SiloAddress

A = TypeVar("A")

ASK_TIMEOUT = 0.8
"""Seconds for the answer of one silo. A page shows a silent silo as silent; it does not wait."""


class WatchedCluster(Protocol):
    """A cluster as the dashboard sees it: its view, and questions to one silo."""

    @property
    def name(self) -> str:
        """The name of the cluster."""
        ...

    @property
    def view(self) -> View:
        """The newest view of the members."""
        ...

    async def ask(self, member: Member, service: str, question: bytes, seconds: float) -> bytes:
        """Ask a system target of one silo. Raises a CallError or HandshakeRefused."""
        ...


class ClientCluster:
    """`WatchedCluster` over a connected client, for a dashboard in a process of its own."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    @property
    def view(self) -> View:
        """WatchedCluster: the view that a gateway sent last."""
        return self._client.view

    async def ask(self, member: Member, service: str, question: bytes, seconds: float) -> bytes:
        """WatchedCluster: ask by the silo's gateway."""
        gateway = SiloAddress(member.address.host, member.gateway, member.address.generation)
        return await self._client.ask(gateway, service, question, seconds)


class Answer(msgspec.Struct, Generic[A], frozen=True):
    """The answer of one silo. Without one, `answer` is None and `problem` is the reason."""

    member: Member
    answer: A | None
    problem: str = ""


def askable(view: View) -> tuple[Member, ...]:
    """The silos that can answer: those that are not dead, and serve management on a gateway."""
    living = view.with_status(SiloStatus.JOINING, SiloStatus.ACTIVE, SiloStatus.LEAVING)
    return tuple(member for member in living if member.gateway)


async def ask_all(
    cluster: WatchedCluster, members: Iterable[Member], question: tuple[str, bytes], kind: type[A], seconds: float
) -> list[Answer[A]]:
    """The answers of these silos to one question (service and bytes), in their order, within `seconds`."""
    return list(await asyncio.gather(*(ask_one(cluster, member, question, kind, seconds) for member in members)))


async def ask_one(
    cluster: WatchedCluster, member: Member, question: tuple[str, bytes], kind: type[A], seconds: float
) -> Answer[A]:
    """The answer of one silo. An error, and an answer that cannot be read, are its `problem`."""
    try:
        async with asyncio.timeout(seconds):
            answer = await cluster.ask(member, *question, seconds)
        return Answer(member, msgspec.msgpack.decode(answer, type=kind))
    except TimeoutError:  # CallTimeout is one, too
        return Answer(member, None, f"no answer within {seconds:g} s")
    except (GrangeError, msgspec.DecodeError) as error:
        return Answer(member, None, str(error) or type(error).__name__)
