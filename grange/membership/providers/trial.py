"""Does with a table what a silo does, under a name of its own, to find out whether a silo could work there.

Called by the `try_out` of the providers, at a silo's start and by `grange doctor`. They undo or delete what it writes.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

import msgspec

from grange import clock
from grange.databases.errors import setting_at_fault
from grange.databases.findings import StoreFinding, ok, warn
from grange.errors import MembershipError, MembershipUnavailable
from grange.membership.model.member import Member, SiloStatus, moved
from grange.membership.model.provider import FRESH, MembershipTable, Row
from grange.membership.providers.rows import settings_at_start
from grange.proto.ids import SiloAddress


def trial_cluster(cluster: str) -> str:
    """The name of a cluster that no silo uses. It begins with the real one, as a right to its keys may demand."""
    return f"{cluster}:trial-{secrets.token_hex(8)}"


async def try_table(table: MembershipTable) -> list[StoreFinding]:
    """Join, live, leave and be forgotten, in a table that is empty.

    Raises ConfigurationError when a setting is wrong, and MembershipError. A missing right to delete is a warning,
    because silos work without it.
    """
    with settings_at_start():
        await _live(table)
    try:
        await _remove(table)
    except MembershipError as error:
        fault = setting_at_fault(error)
        if fault is None:
            raise
        risk = "rows of dead silos stay for ever, and a table that was lost cannot be rebuilt"
        return [warn("trial of membership", f"{fault}", f"grant the right to delete: {risk}")]
    return [ok("trial of membership", "a silo can join, live, die and be removed")]


async def _live(table: MembershipTable) -> None:
    now = clock.utc_now()
    member = Member(SiloAddress("trial", 1, 1), SiloStatus.JOINING, started=now, alive=now)
    _expect(await table.insert(member, FRESH), "the first row was not written")
    row = await _row(table, member)
    later = now + timedelta(seconds=1)
    _expect(await table.alive(member.address, later), "the time of a row was not written")
    leaving = msgspec.structs.replace(moved(member, SiloStatus.LEAVING), alive=later)
    version = (await table.read()).version
    _expect(await table.update(leaving, row.etag, version), "a row was not changed")
    found = await _row(table, member)
    _expect(found.member == leaving, f"a row came back changed: {found.member}")


async def _row(table: MembershipTable, member: Member) -> Row:
    row, _ = await table.read_row(member.address)
    if row is None or (await table.read()).get(member.address) is None:
        raise MembershipError("the membership table does not show a row that was written a moment ago")
    return row


async def _remove(table: MembershipTable) -> None:
    known = await table.read()
    members = [row.member for row in known.rows]
    try:
        await table.rebuild(members, known.version, known.version.number + 1)
    except MembershipUnavailable as error:
        if setting_at_fault(error) is not None:
            raise  # otherwise the disk or a replica was slow, and the table shows the outcome
    _expect((await table.read()).version.incarnation != known.version.incarnation, "the table was not rebuilt")
    _expect(await table.cleanup(clock.utc_now() + timedelta(days=1)) == len(members), "the rows were not removed")


def _expect(holds: bool, problem: str) -> None:
    if not holds:
        raise MembershipError(f"the membership table does not work: {problem}")
