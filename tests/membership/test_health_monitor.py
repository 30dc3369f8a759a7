"""How well a silo finds itself: several agents, virtual time."""

from __future__ import annotations

import asyncio

from grange.membership.model.member import SiloStatus
from tests.membership.cluster import Cluster, cluster

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus


def said(caplog) -> list[str]:
    return [each.getMessage() for each in caplog.records if getattr(each, "event", "") == "health_degraded"]


async def stand_still(c: Cluster, seconds: float) -> None:
    """The loop does nothing for so long, as while a turn blocks it or the process is stopped."""
    await asyncio.sleep(0.5)  # between two measurements
    c.time._now += seconds + 0.5
    await asyncio.sleep(1.5)


async def test_who_is_not_active_has_no_say(caplog):
    """Score 8 until the silo is active, and when it is no more; that is no alarm."""
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
        assert said(caplog) == []


async def test_a_loop_that_stood_still_makes_a_silo_careful_for_ten_seconds(caplog):
    """Lifeguard: one for each whole second; it is told in answers to probes, and the operator hears of it."""
    async with cluster() as c:
        silo = await c.join(0)
        await asyncio.sleep(20)
        await stand_still(c, 3.5)
        assert silo.liveness.score == 3
        assert len(said(caplog)) == 1
        assert "its event loop was 3" in said(caplog)[0]
        await asyncio.sleep(6)
        assert silo.liveness.score == 3
        await asyncio.sleep(6)
        assert silo.liveness.score == 0


async def test_one_short_hiccup_is_no_alarm(caplog):
    """A score of 1 stretches time-outs and is not logged."""
    async with cluster() as c:
        silo = await c.join(0)
        await stand_still(c, 1.9)
        assert silo.liveness.score == 1
        assert said(caplog) == []


async def test_a_silo_that_is_cut_off_doubts_itself_first(caplog):
    """F9: most of those it probes are silent, and nobody's probes come; the others stay well."""
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
        (text,) = said(caplog)
        assert "2 of the 2 silos it probes do not answer" in text
        assert "no probes of other silos arrive" in text


async def test_a_silo_that_is_suspected_doubts_itself():
    """By each active silo's fresh vote, as soon as it hears of it."""
    async with cluster() as c:
        first, second, third, suspect = await c.joined(4)
        await asyncio.sleep(20)
        await first.accuse(suspect.address)
        await asyncio.sleep(0.1)
        assert suspect.liveness.score == 1
        assert [silo.liveness.score for silo in (first, second, third)] == [0, 0, 0]
        await asyncio.sleep(61)
        assert suspect.liveness.score == 0


async def test_a_silo_alone_is_well():
    """It expects no probes and probes nobody."""
    async with cluster() as c:
        silo = await c.join(0)
        await asyncio.sleep(100)
        assert silo.liveness.score == 0
