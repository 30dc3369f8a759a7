"""Decides whether a table is lost, and which rows a rebuilt table holds. Pure; `session.py` and `rebuild.py` act on it.

A database can lose the table as a whole (another incarnation, or none), go back in time (a lower number), or go back
and then be written to again, which shows only by rows that vanished. In each case the silos hold newer data than the
database: they rebuild the table from their memory (rule R3), and no view ever goes back.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from grange.membership.model.member import Member, SiloStatus, View
from grange.membership.model.provider import Table, TableVersion
from grange.membership.table.tombstones import Tombstones
from grange.membership.table.transitions import Change, VersionOrder, compare_versions
from grange.proto.ids import SiloAddress

LASTING = (SiloStatus.ACTIVE, SiloStatus.LEAVING)
"""A row with this status never disappears from an intact table: it becomes DEAD first."""


class Memory(msgspec.Struct, frozen=True):
    """A silo's memory of its table: the version and view that it accepted last, and its own address."""

    known: TableVersion | None = None
    view: View = View(0)
    me: SiloAddress | None = None


class Loss(msgspec.Struct, frozen=True):
    """A lost table: its latest read, and the event loop's time in seconds at which the loss was noticed."""

    table: Table
    since: float

    def rolled_back(self, known: TableVersion) -> bool:
        """Whether it is the same table in an older state. The database is back then; waiting will not improve it."""
        return self.table.version.incarnation == known.incarnation


def missing(memory: Memory, read: View) -> tuple[SiloAddress, ...]:
    """The silos that every later view must hold and this one does not: those with a lasting status, and this silo.

    A silo that a newer generation at its endpoint replaced is not missing.
    """
    return tuple(
        member.address
        for member in memory.view.members
        if (member.status in LASTING or (member.address == memory.me and member.status is not SiloStatus.DEAD))
        and read.get(member.address) is None
        and not read.is_dead(member.address)
    )


def judge(memory: Memory, version: TableVersion, read: View) -> VersionOrder:
    """How a table relates to this silo's memory. NEWER: accept it; LOST: reject it.

    A table of another incarnation is accepted when no silo is missing from it and its number is above ours: then
    silos that know at least as much as this one have rebuilt it.
    """
    order = compare_versions(memory.known, version)
    if order is VersionOrder.SAME or memory.known is None:
        return order
    ahead = bool(version.incarnation) and version.number > memory.known.number
    return VersionOrder.NEWER if ahead and not missing(memory, read) else VersionOrder.LOST


def merged(table: Table, memory: Memory, tombstones: Tombstones) -> tuple[Member, ...]:
    """The rows of the rebuilt table: all silos known or found, each with the highest status seen of it.

    A table that went back in time has old cordons, so those in memory count.
    A silo that is not dead counts as alive; probes find the dead ones. Of two generations at one endpoint only the
    newest lives.
    """
    rows = {row.member.address: row.member for row in table.rows}
    for member in (*memory.view.members, *tombstones.members):
        found = rows.get(member.address)
        if found is None or found.status.rank < member.status.rank:
            rows[member.address] = member
        elif found.cordoned != member.cordoned and found.status is member.status:
            rows[member.address] = msgspec.structs.replace(found, cordoned=member.cordoned)
    newest: dict[str, int] = {}
    for silo in rows:
        newest[silo.endpoint] = max(silo.generation, newest.get(silo.endpoint, 0))
    return tuple(_unless_replaced(rows[silo], newest[silo.endpoint]) for silo in sorted(rows))


def next_number(memory: Memory, table: Table, highest_hint: int) -> int:
    """The version of a rebuilt table: above every version that this silo has seen or received as a hint."""
    known = memory.known.number if memory.known else 0
    return max(known, table.version.number, highest_hint) + 1


def lower(memory: Memory) -> tuple[SiloAddress, ...]:
    """The silos that may rebuild the table before `me`: those of lower address; inactive ones come after all active."""
    order = sorted(
        (member.status is not SiloStatus.ACTIVE, member.address)
        for member in memory.view.members
        if member.status is not SiloStatus.DEAD
    )
    silos = [silo for _, silo in order]
    return tuple(silos[: silos.index(memory.me)]) if memory.me in silos else tuple(silos)


def rejoin(table: Table, memory: Memory, own: Member) -> Change | None:
    """Insert the silo's own row again as it was, if no other silo is missing from a table that is not behind.

    This adds a silo that the rebuilding silos did not know.
    """
    known = memory.known.number if memory.known else 0
    read = View(table.version.number, tuple(row.member for row in table.rows))
    if not table.version.incarnation or table.version.number < known or missing(memory, read) != (own.address,):
        return None
    return Change(own, None, "the rebuilt table lacked it")


def reassert(table: Table, tombstones: Tombstones, own: Member | None) -> Change | None:
    """Write again an entry that the table has lost: a death, or the status of this silo."""
    for row in table.rows:
        status = row.member.status
        if status is not SiloStatus.DEAD and row.member.address in tombstones:
            return Change(
                msgspec.structs.replace(row.member, status=SiloStatus.DEAD), row.etag, "the table had lost its death"
            )
        if own is not None and row.member.address == own.address and status.rank < own.status.rank:
            return Change(
                msgspec.structs.replace(row.member, status=own.status), row.etag, "the table had lost its status"
            )
    return None


def forgotten(members: Iterable[Member], tombstones: Tombstones, own: Member | None) -> bool:
    """Whether `reassert` has something to write."""
    return any(
        (each.address in tombstones and each.status is not SiloStatus.DEAD)
        or (own is not None and each.address == own.address and each.status.rank < own.status.rank)
        for each in members
    )


def _unless_replaced(member: Member, newest: int) -> Member:
    if member.status is SiloStatus.DEAD or member.address.generation == newest:
        return member
    return msgspec.structs.replace(member, status=SiloStatus.DEAD)
