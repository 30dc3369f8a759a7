"""What to make of a table that is not what it was, decided. Pure; acted on by `session.py` and `rebuild.py`.

A table can be lost whole (another incarnation, or none), go back in time (a lower number), or go back and then be
written to again, which shows only by rows that vanished. In each case the silos know better than the database: the
table is rebuilt from what they remember (rule R3), and no view ever goes back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from grange.membership.model.member import Member, SiloStatus, View
from grange.membership.model.provider import Table, TableVersion
from grange.membership.table.tombstones import Tombstones
from grange.membership.table.transitions import Change, Standing, standing
from grange.proto.ids import SiloAddress

LASTING = (SiloStatus.ACTIVE, SiloStatus.LEAVING)
"""A row in one of these states never disappears from a table that is what it was: first it becomes dead."""


class Memory(msgspec.Struct, frozen=True):
    """What one silo knows of its table: the version and view it accepted last, and who it is itself."""

    known: TableVersion | None = None
    view: View = View(0)
    me: SiloAddress | None = None


class Loss(msgspec.Struct, frozen=True):
    """A table that is not what it was, since when (loop's time), and whether only its numbers went back."""

    table: Table
    since: float

    def rolled_back(self, known: TableVersion) -> bool:
        """The same table as before, but older: the database is there, and nothing better will come."""
        return self.table.version.incarnation == known.incarnation


def missing(memory: Memory, found: View) -> tuple[SiloAddress, ...]:
    """Who must be in every later view, and is not in this one: silos in a lasting state, and always oneself.

    Not who was replaced by a newer generation at its endpoint.
    """
    return tuple(
        member.address
        for member in memory.view.members
        if (member.status in LASTING or (member.address == memory.me and member.status is not SiloStatus.DEAD))
        and found.get(member.address) is None
        and not found.is_dead(member.address)
    )


def judge(memory: Memory, version: TableVersion, found: View) -> Standing:
    """How a table relates to what is remembered. NEWER: take it over; LOST: do not believe it.

    A table of another incarnation is taken over when nobody is missing from it and its number is above ours: then it
    was rebuilt by silos that know at least what we know.
    """
    first = standing(memory.known, version)
    if first is Standing.SAME or memory.known is None:
        return first
    ahead = bool(version.incarnation) and version.number > memory.known.number
    return Standing.NEWER if ahead and not missing(memory, found) else Standing.LOST


def merged(table: Table, memory: Memory, graves: Tombstones, now: datetime) -> tuple[Member, ...]:
    """The rows of the rebuilt table: everybody known or found, each as far as anybody has seen it go.

    Whoever is alive counts as having said so now; who is not will be found by probes, as always. Of two generations
    at one endpoint only the newest lives.
    """
    rows = {row.member.address: row.member for row in table.rows}
    for member in (*memory.view.members, *graves.members):
        found = rows.get(member.address)
        if found is None or found.status.rank < member.status.rank:
            rows[member.address] = member
    newest: dict[str, int] = {}
    for silo in rows:
        newest[silo.endpoint] = max(silo.generation, newest.get(silo.endpoint, 0))
    return tuple(_as_of(rows[silo], newest[silo.endpoint], now) for silo in sorted(rows))


def next_number(memory: Memory, table: Table, heard: int) -> int:
    """Above every version that this silo or one that it heard of has seen."""
    known = memory.known.number if memory.known else 0
    return max(known, table.version.number, heard) + 1


def lower(memory: Memory) -> tuple[SiloAddress, ...]:
    """Who may rebuild the table before `me`: active silos of lower address; those not active come after all active."""
    order = sorted(
        (member.status is not SiloStatus.ACTIVE, member.address)
        for member in memory.view.members
        if member.status is not SiloStatus.DEAD
    )
    silos = [silo for _, silo in order]
    return tuple(silos[: silos.index(memory.me)]) if memory.me in silos else tuple(silos)


def rejoin(table: Table, memory: Memory, own: Member) -> Change | None:
    """Put back one's own row as it was, if nobody else is missing from a table that is not behind.

    So a silo that the others did not know of when they rebuilt the table comes in at once.
    """
    known = memory.known.number if memory.known else 0
    found = View(table.version.number, tuple(row.member for row in table.rows))
    if not table.version.incarnation or table.version.number < known or missing(memory, found) != (own.address,):
        return None
    return Change(own, None)


def reassert(table: Table, graves: Tombstones, own: Member | None) -> Change | None:
    """Write again what the table has forgotten: a death, or how far this silo had gone."""
    for row in table.rows:
        status = row.member.status
        if status is not SiloStatus.DEAD and row.member.address in graves:
            return Change(msgspec.structs.replace(row.member, status=SiloStatus.DEAD), row.etag)
        if own is not None and row.member.address == own.address and status.rank < own.status.rank:
            return Change(msgspec.structs.replace(row.member, status=own.status), row.etag)
    return None


def forgotten(members: Iterable[Member], graves: Tombstones, own: Member | None) -> bool:
    """Whether there is something to `reassert`."""
    return any(
        (each.address in graves and each.status is not SiloStatus.DEAD)
        or (own is not None and each.address == own.address and each.status.rank < own.status.rank)
        for each in members
    )


def _as_of(member: Member, newest: int, now: datetime) -> Member:
    if member.status is SiloStatus.DEAD:
        return member
    if member.address.generation < newest:
        return msgspec.structs.replace(member, status=SiloStatus.DEAD)
    return msgspec.structs.replace(member, alive=max(now, member.alive))
