"""The dashboard of a silo: the entry point `dashboard` of the group `grange.pages`. It runs in the admin thread."""

from __future__ import annotations

from starlette.applications import Starlette

from grange.dashboard.app import Dashboard
from grange.membership.model.member import Member, View
from grange.silo.access import SiloAccess


class AccessCluster:
    """`WatchedCluster` over the access of a page to its silo."""

    def __init__(self, access: SiloAccess) -> None:
        self._access = access
        self.name = access.cluster

    @property
    def view(self) -> View:
        """WatchedCluster: the newest view of this silo."""
        return self._access.members()

    async def ask(self, member: Member, service: str, question: bytes, seconds: float) -> bytes:
        """WatchedCluster: ask by the silo port."""
        return await self._access.ask(member.address, service, question, seconds)


def pages(access: SiloAccess) -> Starlette:
    """The application that the admin port of a silo mounts at `/`."""
    return Dashboard(AccessCluster(access), access.dashboard, access.actions, access.identity_of, access.version).app
