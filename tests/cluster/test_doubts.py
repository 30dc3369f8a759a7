"""Which silo doubts which: probes, votes and connections as each silo sees them (`management.doubts`)."""

from __future__ import annotations

import msgspec

from grange import Grain
from grange.proto.ids import SiloAddress
from grange.proto.inspection import DOUBTS, DoubtRow, Doubts
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster


class Cart(Grain):
    """A grain that does nothing."""

    async def touch(self) -> None:
        """Do nothing."""


async def doubts(asker: Silo, silo: Silo) -> dict[SiloAddress, DoubtRow]:
    answer = await asker._here("").links.sender.ask(silo.address, DOUBTS, b"", 5.0)
    decoded = msgspec.msgpack.decode(answer, type=Doubts)
    assert decoded.address == silo.address
    return {row.silo: row for row in decoded.rows}


async def test_healthy_silos_probe_each_other_and_doubt_none() -> None:
    async with TestCluster(grains=[Cart], silos=3) as cluster:
        await cluster.advance(10)
        for silo in cluster.silos:
            rows = await doubts(cluster.silos[0], silo)
            assert set(rows) == {other.address for other in cluster.silos} - {silo.address}
            for row in rows.values():
                assert (row.probed, row.missed, row.voted, row.connected) == (True, 0, False, True)
                assert row.rtt >= 0


async def test_a_silo_that_does_not_answer_is_doubted_and_gone_when_it_is_dead() -> None:
    async with TestCluster(grains=[Cart], silos=4) as cluster:
        await cluster.advance(10)
        first, second, *_, victim = cluster.silos
        await cluster.kill(victim)
        seen: list[DoubtRow] = []
        while victim.address not in {member.address for member in first.view.members if member.status == "dead"}:
            await cluster.advance(0.5)
            seen += [row for row in [(await doubts(second, first)).get(victim.address)] if row is not None]
        assert max(row.missed for row in seen) >= 2
        assert not seen[-1].connected
        assert victim.address not in await doubts(second, first)
