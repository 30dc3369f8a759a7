"""A silo with a wrong clock kills no healthy one, and is not killed for it; deaths are found as with right clocks."""

from __future__ import annotations

import asyncio
import math

import pytest

from grange.grains.grain import Grain
from grange.membership.detection.detector import Silence, Suspicion
from grange.membership.model.member import SiloStatus
from grange.proto.ids import SiloAddress
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster

HOUR = 3600.0
ERRORS = [-HOUR, -300.0, 300.0, HOUR]
"""Seconds by which a clock is wrong."""


class Counter(Grain, name="counter", keep_alive=True):
    """Counts in memory, so that a second activation would show."""

    def __init__(self) -> None:
        self._count = 0

    async def add(self) -> int:
        self._count += 1
        return self._count


async def accuse(cluster: TestCluster, voter: Silo, suspect: Silo, witness: SiloAddress | None = None) -> None:
    """Vote as after missed probes; no later message of the suspect withholds the vote."""
    silence = Silence(3, began=cluster.time.time() - 4, answer_due=math.inf)
    await voter._running.cluster.agent._voter.suspect(Suspicion(suspect.address, silence, witness))


async def votes_on(cluster: TestCluster, silo: Silo) -> tuple[SiloStatus, list[SiloAddress]]:
    row = (await cluster.table.read()).get(silo.address)
    return row.member.status, [vote.voter for vote in row.member.votes]


@pytest.mark.parametrize("error", ERRORS)
async def test_one_vote_of_a_silo_with_a_wrong_clock_is_one_vote(error: float) -> None:
    """To a fast clock every row looks old; it must still find another silo that agrees."""
    async with TestCluster([Counter], silos=3) as cluster:
        wrong, healthy, _ = cluster.silos
        await cluster.advance(30)
        cluster.shift_clock(wrong, error)
        await cluster.advance(15)
        await accuse(cluster, wrong, healthy)
        assert await votes_on(cluster, healthy) == (SiloStatus.ACTIVE, [wrong.address])
        await cluster.advance(200)
        assert await votes_on(cluster, healthy) == (SiloStatus.ACTIVE, [])
        assert len(cluster.silos[2].view.active) == 3


@pytest.mark.parametrize("error", ERRORS)
async def test_a_silo_with_a_wrong_clock_is_as_safe_as_any(error: float) -> None:
    """Its row looks old to the others, or stays in their future; one vote of another silo is still one vote."""
    async with TestCluster([Counter], silos=3) as cluster:
        wrong, voter, _ = cluster.silos
        await cluster.advance(30)
        cluster.shift_clock(wrong, error)
        await cluster.advance(60)
        cluster.shift_clock(wrong, -error)
        await cluster.advance(15)
        await accuse(cluster, voter, wrong)
        assert await votes_on(cluster, wrong) == (SiloStatus.ACTIVE, [voter.address])


@pytest.mark.parametrize("error", ERRORS)
async def test_two_votes_count_although_the_clocks_of_the_voters_differ(error: float) -> None:
    """The vote of a slow clock has not expired when it is written, and that of a fast one expires no other vote."""
    async with TestCluster([Counter], silos=4) as cluster:
        wrong, right, suspect, _ = cluster.silos
        cluster.shift_clock(wrong, error)
        await cluster.advance(20)
        await accuse(cluster, right, suspect)
        await cluster.advance(30)
        await accuse(cluster, wrong, suspect)
        assert await votes_on(cluster, suspect) == (SiloStatus.DEAD, [right.address, wrong.address])


@pytest.mark.parametrize("error", ERRORS)
async def test_a_vote_of_a_wrong_clock_expires_after_a_minute(error: float) -> None:
    """Two disturbances minutes apart declare no death; the vote leaves the row, also for silos that start later."""
    async with TestCluster([Counter], silos=4) as cluster:
        wrong, right, suspect, _ = cluster.silos
        cluster.shift_clock(wrong, error)
        await cluster.advance(20)
        await accuse(cluster, wrong, suspect)
        await cluster.advance(90)
        assert await votes_on(cluster, suspect) == (SiloStatus.ACTIVE, [])
        late = await cluster.add_silo()
        for voter in (right, late):
            await accuse(cluster, voter, suspect)
            await cluster.advance(90)
        assert await votes_on(cluster, suspect) == (SiloStatus.ACTIVE, [])


@pytest.mark.parametrize("error", ERRORS)
async def test_a_clock_that_is_set_ends_no_silo_and_no_activation(error: float) -> None:
    """Not in ten minutes, and not when it is set right again."""
    async with TestCluster([Counter], silos=3) as cluster:
        keys = [str(number) for number in range(12)]
        assert {await cluster.get_grain(Counter, key).add() for key in keys} == {1}
        before = (await cluster.table.read()).version.number
        for seconds in (error, -error):
            cluster.shift_clock(cluster.silos[1], seconds)
            await cluster.advance(600)
        assert {await cluster.get_grain(Counter, key).add() for key in keys} == {2}
        assert (await cluster.table.read()).version.number == before


async def test_a_death_is_found_in_time_although_no_two_clocks_agree() -> None:
    """Within 8 s, as with right clocks."""
    async with TestCluster([Counter], silos=5) as cluster:
        for silo, seconds in zip(cluster.silos, (*ERRORS, 86_400.0), strict=True):
            cluster.shift_clock(silo, seconds)
        await cluster.advance(60)
        victim, *others = cluster.silos
        killed = cluster.time.time()
        await cluster.kill(victim)
        await asyncio.gather(*(silo.wait_for([each.address for each in others]) for silo in others))
        assert cluster.time.time() - killed <= 8


@pytest.mark.parametrize("error", ERRORS)
async def test_a_cold_start_needs_no_agreement_of_clocks(error: float) -> None:
    """All silos were killed, and their rows look old to the new one, or are hours in its future."""
    async with TestCluster([Counter], silos=3) as cluster:
        for silo in cluster.silos:
            cluster.shift_clock(silo, error)
        await cluster.advance(20)
        gateway = int(cluster.silos[0].gateway.rpartition(":")[2])  # the client knows only the gateways of its start
        for silo in tuple(cluster.silos):
            await cluster.kill(silo)
        began = cluster.time.time()
        late = await cluster.add_silo(gateway_port=gateway)
        assert [member.address for member in late.view.active] == [late.address]
        assert 8 <= cluster.time.time() - began <= 12
