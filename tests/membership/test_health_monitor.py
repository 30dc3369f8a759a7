"""The local health of several agents, in virtual time."""

from __future__ import annotations

import asyncio

from grange.membership.model.member import SiloStatus
from tests.membership.cluster import Cluster, cluster

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus


def logged(caplog) -> list[str]:
    return [each.getMessage() for each in caplog.records if getattr(each, "event", "") == "health_degraded"]


async def stand_still(c: Cluster, seconds: float) -> None:
    """Block the loop for so long, as a blocking turn or a stop of the process does."""
    await asyncio.sleep(0.5)  # between two measurements
    c.time._now += seconds + 0.5
    await asyncio.sleep(1.5)


async def test_an_inactive_silo_has_the_worst_score(caplog):
    """Score 8 before the silo is active and after it; this is not logged."""
    async with cluster() as c:
        silo = c.make(0)
        await silo.start()
        await asyncio.sleep(2)
        assert silo.liveness.score == 8
        await silo.agent.join()
        assert silo.liveness.score == 0
        await silo.agent.leave()
        await asyncio.sleep(2)
        assert silo.liveness.score == 8
        assert logged(caplog) == []


async def test_a_blocked_loop_raises_the_score_for_ten_seconds(caplog):
    """Lifeguard: 1 for each whole second; answers to probes hold it, and the log tells the operator."""
    async with cluster() as c:
        silo = await c.join(0)
        await asyncio.sleep(20)
        await stand_still(c, 3.5)
        assert silo.liveness.score == 3
        assert len(logged(caplog)) == 1
        assert "its event loop was 3" in logged(caplog)[0]
        await asyncio.sleep(6)
        assert silo.liveness.score == 3
        await asyncio.sleep(6)
        assert silo.liveness.score == 0


async def test_one_short_delay_is_not_logged(caplog):
    """A score of 1 stretches time-outs and is not logged."""
    async with cluster() as c:
        silo = await c.join(0)
        await stand_still(c, 1.9)
        assert silo.liveness.score == 1
        assert logged(caplog) == []


async def test_a_silo_that_is_cut_off_raises_its_own_score(caplog):
    """F9: most silos that it probes are silent, and no probes arrive; the other silos stay healthy."""
    async with cluster() as c:
        alone, *others = await c.joined(3)
        await asyncio.sleep(20)
        alone.table.down = True
        for other in others:
            c.network.cut(alone.address, other.address)
        await others[0].agent.wait_for(lambda view: view.is_dead(alone.address))
        await asyncio.sleep(1)
        assert alone.liveness.score == 2
        assert [other.liveness.score for other in others] == [0, 0]
        (text,) = logged(caplog)
        assert "2 of the 2 silos it probes do not answer" in text
        assert "no probes of other silos arrive" in text


async def test_a_suspected_silo_raises_its_own_score():
    """1 for each active silo's fresh vote, as soon as the view shows it."""
    async with cluster() as c:
        first, second, third, suspect = await c.joined(4)
        await asyncio.sleep(20)
        await first.accuse(suspect.address)
        await asyncio.sleep(0.1)
        assert suspect.liveness.score == 1
        assert [silo.liveness.score for silo in (first, second, third)] == [0, 0, 0]
        await asyncio.sleep(61)
        assert suspect.liveness.score == 0


async def test_a_silo_alone_is_healthy():
    """It expects no probes and probes no silo."""
    async with cluster() as c:
        silo = await c.join(0)
        await asyncio.sleep(100)
        assert silo.liveness.score == 0
