"""Silos of the release before drop fields of rows that they do not know; the others notice, and nothing stays lost."""

from __future__ import annotations

import msgspec

from grange.membership.model.member import ROW_FORMAT, SiloStatus, View
from grange.membership.model.messages import Announcement, decode_announcement, encode
from grange.membership.table.transitions import has_lost, restate
from tests.membership.cluster import START, address, cluster, member

ME = msgspec.structs.replace(member(address(1)), run="r", versions={"cart": {"cart_api": 2}}, services=("mailer",))


def test_an_announcement_of_an_earlier_release_says_so() -> None:
    """VER-06: a message without the format of its rows is one of a release that had none."""
    sent = Announcement("i", View(3, (ME,)), ROW_FORMAT)
    assert decode_announcement(encode(sent)) == sent
    fields = msgspec.msgpack.decode(encode(sent))
    del fields["row_format"]
    for row in fields["view"]["members"]:
        del row["versions"], row["services"]
    received = decode_announcement(msgspec.msgpack.encode(fields))
    assert received.row_format == 0 < ROW_FORMAT
    assert received.view.members[0].versions == {}


async def test_a_view_of_an_earlier_release_is_only_a_hint() -> None:
    """VER-06: its rows are not believed, and the table is read instead."""
    async with cluster() as c:
        first, second = await c.joined(2)
        version = first.agent.view.version
        poor = View(version + 1, tuple(msgspec.structs.replace(each, name="") for each in second.agent.view.members))
        assert not first.agent._session.apply(Announcement(first.agent.incarnation, poor, 0))
        await c.time.advance(1)
        assert first.agent.view.version == version
        assert second.agent._session.apply(Announcement(first.agent.incarnation, poor, ROW_FORMAT))
        assert second.agent.view.version == version + 1


def test_a_row_that_has_lost_a_part_is_completed() -> None:
    """VER-06: what the silo is comes back, and what others wrote into its row stays."""
    voted = msgspec.structs.replace(ME, status=SiloStatus.ACTIVE, cordoned=True, versions={}, services=())
    assert has_lost(voted, ME)
    assert not has_lost(msgspec.structs.replace(ME, cordoned=True, alive=START, status=SiloStatus.LEAVING), ME)
    assert not has_lost(msgspec.structs.replace(voted, run="another process"), ME)


async def test_a_silo_writes_its_row_again() -> None:
    """VER-06: a silo whose row was written by a silo of an earlier release restores it, in the table and for all."""
    async with cluster() as c:
        first, second = await c.joined(2)
        table = await c.table.read()
        row = table.get(first.address)
        assert row is not None
        poor = msgspec.structs.replace(row.member, labels=("lost",))
        assert await c.table.update(poor, row.etag, table.version)
        await c.time.advance(10)
        restored = (await c.table.read()).get(first.address)
        assert restored is not None
        assert restored.member.labels == row.member.labels
        assert second.agent.view.get(first.address).labels == row.member.labels
        version = (await c.table.read()).version
        await c.time.advance(60)
        assert (await c.table.read()).version == version, "once is enough"
        assert restate(await c.table.read(), first.agent._me) is None
