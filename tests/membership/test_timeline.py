"""The timeline of the table: each write with its version, its writer and its reason, also of versions passed by."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from grange.membership.model.member import Member, SiloStatus, View, Vote, Written, make_view
from grange.membership.table.timeline import UNKNOWN, changes, first_read
from grange.observability.catalogue import MembershipChanged
from grange.proto.ids import SiloAddress
from tests.membership.cluster import cluster

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B, C = (SiloAddress("10.0.0.1", port, 1) for port in (1, 2, 3))
JOINING, ACTIVE, DEAD = SiloStatus.JOINING, SiloStatus.ACTIVE, SiloStatus.DEAD


def row(silo: SiloAddress, status: SiloStatus, version: int, by: SiloAddress | None = None, why: str = "why") -> Member:
    return Member(silo, status, NOW, NOW, written=Written(by or silo, version, why))


def shown(events: list[MembershipChanged]) -> list[tuple[str, str, str, str]]:
    return [(event.versions, event.member, event.change, event.by) for event in events]


def test_one_version_is_one_write_with_its_writer_and_reason() -> None:
    before = make_view(3, [row(A, ACTIVE, 2), row(B, ACTIVE, 3)])
    suspected = msgspec.structs.replace(row(B, ACTIVE, 4, A, "vote 1 of 2: no answer"), votes=(Vote(A, NOW),))
    after = make_view(4, [row(A, ACTIVE, 2), suspected])
    (event,) = changes(before, after)
    assert event.text("") == f"version 4: {B} is suspected, by {A}: vote 1 of 2: no answer"
    dead = msgspec.structs.replace(row(B, DEAD, 5, C, "vote 2 of 2: no answer"), votes=(Vote(A, NOW), Vote(C, NOW)))
    (event,) = changes(after, make_view(5, [row(A, ACTIVE, 2), dead]))
    assert event.text("") == f"version 5: {B} is dead, by {C}: vote 2 of 2: no answer"


def test_versions_that_passed_by_keep_their_numbers_where_rows_tell_them() -> None:
    before = make_view(3, [row(A, ACTIVE, 3)])
    after = make_view(7, [row(A, ACTIVE, 3), row(B, ACTIVE, 7), row(C, JOINING, 5)])
    assert shown(changes(before, after)) == [
        ("versions 4 to 6", "a row", "was written", UNKNOWN),
        ("version 5", str(C), "joins", str(C)),
        ("version 7", str(B), "is active", str(B)),
    ]
    (passed, *_) = changes(before, after)
    assert (passed.first, passed.version) == (4, 6)


def test_a_row_of_an_older_version_of_grange_names_the_versions_that_it_can_be() -> None:
    before = View(3)
    after = make_view(5, [msgspec.structs.replace(row(A, JOINING, 5), written=None)])
    assert shown(changes(before, after)) == [("versions 4 to 5", str(A), "joins", UNKNOWN)]


def test_a_row_that_is_gone_was_removed_by_the_cleaner() -> None:
    before = make_view(8, [row(A, ACTIVE, 2), row(B, ACTIVE, 3), row(C, DEAD, 8, A)])
    after = make_view(9, [row(A, ACTIVE, 2), row(B, ACTIVE, 3)])
    assert shown(changes(before, after)) == [("version 9", str(C), "was removed", str(A))]


def test_a_row_without_a_change_is_not_told() -> None:
    alive = msgspec.structs.replace(row(A, ACTIVE, 2), alive=NOW.replace(hour=1))
    assert changes(make_view(2, [row(A, ACTIVE, 2)]), make_view(3, [alive, row(B, JOINING, 3)]))[0].member == str(B)


def test_the_first_read_counts_the_rows() -> None:
    event = first_read(make_view(9, [row(A, ACTIVE, 2), row(B, DEAD, 3), row(C, JOINING, 9)]))
    assert (event.version, event.active, event.joining, event.dead) == (9, 1, 1, 1)


async def test_every_silo_tells_both_votes_and_the_death_in_order() -> None:
    async with cluster() as c:
        first, second, third, victim = await c.joined(4)
        c.network.silos.pop(victim.address)
        await first.accuse(victim.address)
        await second.accuse(victim.address)
        await third.agent.wait_for(lambda view: view.is_dead(victim.address))
        for silo in (first, second, third):
            rows = [row for row in silo.events.after(0, 1000)[0] if row.name == "membership_changed"]
            story = [row.facts for row in rows if row.facts["member"] == str(victim.address)]
            assert [(fact["change"], fact["by"]) for fact in story[-2:]] == [
                ("is suspected", str(first.address)),
                ("is dead", str(second.address)),
            ]
            assert [str(fact["why"]).partition(":")[0] for fact in story[-2:]] == ["vote 1 of 2", "vote 2 of 2"]
            versions = [fact["version"] for fact in (row.facts for row in rows)]
            assert versions == sorted(versions)


async def test_a_silo_that_missed_announcements_tells_which_versions_passed() -> None:
    async with cluster() as c:
        (first,) = await c.joined(1)
        before = first.agent.view.version
        first.table.down = True
        c.network.silos.pop(first.address)  # it hears no announcement
        for status in (SiloStatus.JOINING, SiloStatus.ACTIVE):
            table = await c.table.read()
            number = table.version.number
            written = Written(B, number + 1, "why")
            member = Member(B, status, NOW, NOW, written=written)
            old = table.get(B)
            await (
                c.table.insert(member, table.version)
                if old is None
                else c.table.update(member, old.etag, table.version)
            )
        first.table.down = False
        await first.agent.refresh()
        told = [row.text for row in first.events.after(0, 1000)[0] if row.name == "membership_changed"]
        assert told[-2:] == [
            f"version {before + 1}: a row was written, by {UNKNOWN}: this silo read only version {before + 2}",
            f"version {before + 2}: {B} is active, by {B}: why",
        ]


async def test_the_table_is_the_same_whether_rows_name_their_writers_or_not() -> None:
    """A silo of an older version drops the field when it writes a row; the protocol does not depend on it."""
    async with cluster() as c:
        silos = await c.joined(3)
        assert all(member.written is not None for member in silos[0].agent.view.members)
        table = await c.table.read()
        row = table.rows[0]
        older = msgspec.structs.replace(row.member, written=None)
        await c.table.update(older, row.etag, table.version)
        await silos[2].crash()
        await silos[0].agent.wait_for(lambda view: view.is_dead(silos[2].address))
        assert len(silos[0].agent.view.active) == 2
