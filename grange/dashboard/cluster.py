"""The contract between the dashboard and the cluster that it shows."""

from __future__ import annotations

from typing import Protocol

from grange.client.client import Client
from grange.client.questions import gateway_address
from grange.membership.model.member import Member, SiloStatus, View

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
        return await self._client.ask(gateway_address(member), service, question, seconds)


def askable(view: View) -> tuple[Member, ...]:
    """The silos that can answer, by name: those that are not dead, and serve management on a gateway."""
    living = view.with_status(SiloStatus.JOINING, SiloStatus.ACTIVE, SiloStatus.LEAVING)
    return tuple(sorted((each for each in living if each.gateway), key=lambda each: (each.name, str(each.address))))
