"""The veto against a vote, and the log of a vote that is cast."""

from __future__ import annotations

import asyncio
import logging

import pytest

from grange.membership.detection.detector import Silence, Suspicion
from grange.membership.model.member import SiloStatus
from grange.membership.model.options import MembershipOptions
from tests.membership.cluster import Cluster, Silo, cluster

JOINING, ACTIVE, LEAVING, DEAD = SiloStatus
OPTIONS = MembershipOptions()
VOTE = OPTIONS.vote_after


async def is_spared(c: Cluster, voter: Silo, suspect: Silo, heard: float, began: float = -VOTE) -> bool:
    """Whether bytes that came at `heard` withhold a vote cast now, with a first probe missed at `began`; both before
    now.
    """
    now = c.time.time()
    c.network.heard[suspect.address, voter.address] = now + heard
    before = voter.agent._voter.withheld
    await voter.agent._voter.suspect(Suspicion(suspect.address, Silence(3, now + began, now + began + 0.5)))
    return voter.agent._voter.withheld > before


@pytest.mark.parametrize(
    ("heard", "began", "spared"),
    [
        (-0.1, -VOTE, True),
        (-VOTE + 0.55, -VOTE, True),
        (-VOTE + 0.45, -VOTE, False),  # within the time of the first probe: bytes under way may still arrive
        (-VOTE - 0.05, -VOTE, False),  # before the first probe
        (-VOTE + 0.05, -60.0, True),  # a long silence, and bytes within the time that a vote takes
        (-VOTE - 0.05, -60.0, False),  # vetoed for long, and silent since
    ],
)
async def test_recent_bytes_since_the_first_missed_probe_withhold_a_vote(heard, began, spared):
    """MEM-13: bytes of a stopped process may arrive from the kernel's buffers for a moment."""
    async with cluster() as c:
        voter, suspect, _ = await c.joined(3)
        await asyncio.sleep(100)
        assert await is_spared(c, voter, suspect, heard, began) == spared
        row = (await c.table.read()).get(suspect.address)
        assert bool(row.member.votes) == (not spared)


async def test_votes_are_in_the_log_with_their_reasons(caplog):
    """A warning for the first vote, an error for the death, each with the voters and the reason."""
    async with cluster() as c:
        one, two, three, victim = await c.joined(4)
        await one.accuse(victim.address)
        await one.accuse(victim.address)
        await two.accuse(victim.address, witness=three.address)
        events = [(each.event, each.levelno) for each in caplog.records if hasattr(each, "event")]
        assert events[:2] == [("silo_suspected", logging.WARNING), ("silo_declared_dead", logging.ERROR)]
        assert events.count(("silo_suspected", logging.WARNING)) == 1
        (text,) = [each.getMessage() for each in caplog.records if getattr(each, "event", "") == "silo_declared_dead"]
        assert all(str(silo.address) in text for silo in (one, two, three, victim))
        assert "no answer to 3 probes in 4.0 s" in text


async def test_the_loser_of_the_race_does_not_log_the_death(caplog):
    """One error for one death, by the silo that wrote it."""
    async with cluster() as c:
        one, two, three, victim = await c.joined(4)
        await asyncio.gather(*(silo.accuse(victim.address, witness=three.address) for silo in (one, two)))
        said = [each for each in caplog.records if getattr(each, "event", "") == "silo_declared_dead"]
        assert len(said) == 1
