"""Sample members for the contract of membership tables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.provider import MembershipTable, Table
from grange.proto.ids import SiloAddress

OpenTable = Callable[[str], AbstractAsyncContextManager[MembershipTable]]
"""Opens the table of a named cluster. All tables that one test opens must be in the same store, empty at first."""

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def a_silo(number: int, status: SiloStatus = SiloStatus.ACTIVE, alive: datetime = NOON, gateway: int = 0) -> Member:
    """A member; members differ by their number only."""
    return Member(
        SiloAddress("10.0.0.1", 11000 + number, 1_000_000 + number),
        status,
        started=alive,
        alive=alive,
        name=f"silo-{number}",
        gateway=gateway,
        labels=("zone=a", "größe=m"),
        grains={"cart": "hash"},
    )


async def insert(table: MembershipTable, member: Member) -> Table:
    """Insert at the current version, which must succeed; return the table after it."""
    assert await table.insert(member, (await table.read()).version)
    return await table.read()
