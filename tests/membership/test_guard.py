"""The guard of the gate: it closes in time, stays closed without a proof, and opens on the first one."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from grange.errors import MembershipUnavailable, SelfFenced
from grange.membership.guard import AFTER_PAUSE, HEAD_START, READ_PATIENCE, ROUND, SWEEP_PATIENCE, Contact, Guard
from grange.membership.member import Member, SiloStatus, make_view
from grange.membership.options import MembershipOptions
from grange.membership.provider import Row, Table, table_version
from grange.membership.vitals import TICK, Vitals
from grange.proto.ids import SiloAddress
from grange.runtime.gate import Gate
from grange.testing.loop import VirtualTime

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = MembershipOptions()
ACTIVE, DEAD = SiloStatus.ACTIVE, SiloStatus.DEAD
ME, B, C, D = (SiloAddress("127.0.0.1", 11111 + number, 1) for number in range(4))
MINUTE = 60.0


class World:
    """A silo's cluster as a guard can see it: a table, other silos that answer or not, and their probes."""

    def __init__(self, time: VirtualTime, *others: SiloAddress) -> None:
        self.time = time
        self.loop = asyncio.get_running_loop()
        self.gate = Gate()
        self.vitals = Vitals(self.gate.clock)
        self.statuses = {ME: ACTIVE, **dict.fromkeys(others, ACTIVE)}
        self.version = 7
        self.seen_by = dict.fromkeys(others, 7)
        self.table_is_there = True
        self.read_takes = 0.0
        self.reads: list[float] = []
        self.asked: list[float] = []
        self.fetched: list[SiloAddress] = []
        self.reachable = set(others)
        self.errors: list[SelfFenced] = []
        self.probing: dict[SiloAddress, asyncio.Task[None]] = {}
        self.hints: list[int] = []
        contact = Contact(
            read=self._read,
            ask_version=self._ask,
            fetch=self._fetch,
            hint=self.hints.append,
            give_up=self.errors.append,
        )
        self.guard = Guard(ME, self.gate, self.vitals, contact, OPTIONS)
        self.guard.see(self.view())
        self.task = asyncio.create_task(self.guard.run())
        for other in others:
            self.probe(other)

    @property
    def now(self) -> float:
        return self.loop.time()

    def view(self):
        return make_view(self.version, (Member(silo, status, NOW, NOW) for silo, status in self.statuses.items()))

    def probe(self, other: SiloAddress) -> None:
        """This silo probes from now on, and has our answers."""
        self.probing[other] = asyncio.create_task(self._probe(other))

    def cut(self, *others: SiloAddress) -> None:
        """These are gone, for this silo."""
        for other in others:
            self.probing.pop(other).cancel()
            self.reachable.discard(other)

    def heal(self, *others: SiloAddress) -> None:
        for other in others:
            self.reachable.add(other)
            self.probe(other)

    def stand_still(self, seconds: float) -> None:
        """The process is stopped: nothing runs, and then everything is late."""
        self.time._now += seconds

    async def closed(self) -> float:
        """Wait until the gate closes; returns when."""
        while not self.gate.closed:
            await asyncio.sleep(0.001)
        return self.now

    async def opened(self) -> float:
        while self.gate.closed:
            await asyncio.sleep(0.001)
        return self.now

    async def close(self) -> None:
        for task in (self.task, *self.probing.values()):
            task.cancel()
        await asyncio.wait((self.task, *self.probing.values()))

    async def _probe(self, other: SiloAddress) -> None:
        mutual = False
        while True:
            self.vitals.heard(other, mutual, self.seen_by[other])
            mutual = True
            await asyncio.sleep(1.0)

    async def _read(self) -> Table:
        self.reads.append(self.now)
        await asyncio.sleep(self.read_takes)
        if not self.table_is_there:
            raise MembershipUnavailable("away")
        return Table(table_version("x", self.version), tuple(Row(member, "e") for member in self.view().members))

    async def _ask(self, silo: SiloAddress, timeout: float) -> int | None:
        self.asked.append(self.now)
        if silo not in self.reachable:
            await asyncio.sleep(timeout)
            return None
        await asyncio.sleep(0.001)
        return self.seen_by[silo]

    async def _fetch(self, silo: SiloAddress) -> None:
        self.fetched.append(silo)


Make = Callable[..., World]


@pytest.fixture
async def world() -> AsyncIterator[Make]:
    made: list[World] = []
    with VirtualTime(asyncio.get_running_loop()).installed() as time:

        def make(*others: SiloAddress) -> World:
            made.append(World(time, *others))
            return made[-1]

        yield make
        for each in made:
            await each.close()


# --- the fence ----------------------------------------------------------------------------------------------------


async def test_a_silo_that_everybody_hears_does_not_even_read_the_table(world: Make) -> None:
    here = world(B, C, D)
    await asyncio.sleep(MINUTE)
    assert not here.gate.closed
    assert here.reads == []


async def test_a_silo_that_is_cut_off_closes_its_gate_in_time(world: Make, caplog: pytest.LogCaptureFixture) -> None:
    """F9: 2.75 s after the last proof, however late in the probe interval the cut comes."""
    here = world(B, C)
    await asyncio.sleep(10.6)
    last = max(here.vitals.contacts().values())
    here.cut(B, C)
    here.table_is_there = False
    assert await here.closed() == pytest.approx(last + OPTIONS.fence_after, abs=0.002)
    assert here.gate.fenced is not None
    assert "no proof" in here.guard.fenced
    assert [record.event for record in caplog.records] == ["self_fenced"]
    assert caplog.records[0].levelno == logging.ERROR


async def test_the_gate_is_closed_to_a_turn_even_before_the_timer(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10)
    here.cut(B)
    here.table_is_there = False
    await asyncio.sleep(1)
    assert here.gate.until <= here.now - 1 + OPTIONS.fence_after


async def test_a_silo_that_nobody_hears_reads_the_table_twice_a_second(world: Make) -> None:
    """F13: it learns of its death within half a second."""
    here = world(B, C)
    await asyncio.sleep(10)
    here.cut(B, C)
    await asyncio.sleep(MINUTE)
    assert not here.gate.closed
    pauses = [later - earlier for earlier, later in pairwise(here.reads)]
    assert max(pauses) <= ROUND + 0.01
    assert here.asked == []


async def test_one_silent_watcher_is_enough_to_look_into_the_table(world: Make) -> None:
    """Another silo may give its vote for it: see the probe through a third silo."""
    here = world(B, C, D)
    await asyncio.sleep(10)
    here.cut(B)
    await asyncio.sleep(10)
    assert len(here.reads) == pytest.approx(17, abs=2)
    assert not here.gate.closed


async def test_without_the_table_a_silo_that_everybody_hears_goes_on(world: Make) -> None:
    """R8: the table may be away for as long as it likes."""
    here = world(B, C, D)
    here.table_is_there = False
    await asyncio.sleep(10 * MINUTE)
    assert not here.gate.closed
    assert here.asked == []


async def test_without_the_table_a_majority_goes_on(world: Make) -> None:
    """One of three crashes while the table is away."""
    here = world(B, C)
    await asyncio.sleep(10)
    here.table_is_there = False
    here.cut(B)
    await asyncio.sleep(10 * MINUTE)
    assert not here.gate.closed


async def test_also_with_a_table_that_never_answers(world: Make) -> None:
    here = world(B, C)
    await asyncio.sleep(10)
    here.read_takes = math.inf
    here.cut(B)
    await asyncio.sleep(10 * MINUTE)
    assert not here.gate.closed


async def test_without_the_table_a_minority_stops(world: Make) -> None:
    """AB cut off from CDE and the table: what A and B hear of each other proves nothing."""
    here = world(B, C, D)
    await asyncio.sleep(10)
    here.table_is_there = False
    here.cut(C, D)
    await here.closed()
    await asyncio.sleep(MINUTE)
    assert here.gate.fenced


async def test_an_answer_from_the_future_proves_nothing_and_is_looked_into(world: Make) -> None:
    here = world(B, C)
    await asyncio.sleep(10)
    here.table_is_there = False
    here.cut(C)
    here.seen_by[B] = 8
    await here.closed()
    assert set(here.fetched) == {B}

    here.version = 8
    here.guard.see(here.view())
    await here.opened()


async def test_a_silo_alone_is_not_fenced(world: Make) -> None:
    here = world()
    here.table_is_there = False
    await asyncio.sleep(MINUTE)
    assert not here.gate.closed


async def test_a_silo_that_is_not_active_yet_is_not_fenced(world: Make) -> None:
    here = world(B)
    here.statuses[ME] = SiloStatus.JOINING
    here.version += 1
    here.guard.see(here.view())
    here.cut(B)
    here.table_is_there = False
    await asyncio.sleep(MINUTE)
    assert not here.gate.closed


async def test_a_new_watcher_has_time_to_be_heard(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10)
    here.table_is_there = False
    here.statuses[C] = ACTIVE
    here.seen_by[C] = here.seen_by[B] = here.version = 8
    here.guard.see(here.view())
    await asyncio.sleep(0.9)
    here.heal(C)
    await asyncio.sleep(MINUTE)
    assert not here.gate.closed


async def test_the_fence_is_lifted_by_the_table(world: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "grange.membership")
    here = world(B)
    await asyncio.sleep(10)
    here.cut(B)
    here.table_is_there = False
    await here.closed()
    await asyncio.sleep(20)
    here.table_is_there = True
    began = here.now
    assert await here.opened() <= began + ROUND + 0.01
    assert [record.event for record in caplog.records] == ["self_fenced", "fence_lifted"]
    assert here.guard.fenced == ""


async def test_the_fence_is_lifted_by_a_majority_while_the_table_is_away(world: Make) -> None:
    here = world(B, C)
    await asyncio.sleep(10)
    here.cut(B, C)
    here.table_is_there = False
    await here.closed()
    here.heal(B)
    began = here.now
    assert await here.opened() <= began + 1.5


async def test_the_fence_stays_while_the_table_says_dead(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10)
    here.cut(B)
    here.table_is_there = False
    await here.closed()
    here.statuses[ME] = DEAD
    here.table_is_there = True
    await asyncio.sleep(MINUTE)
    assert here.gate.closed


async def test_probes_alone_do_not_lift_the_fence(world: Make) -> None:
    """They were sent before anybody could know of a death that the table already holds."""
    here = world(B, C, D)
    await asyncio.sleep(10)
    here.cut(B, C, D)
    here.table_is_there = False
    await here.closed()
    for other in (B, C, D):
        here.probe(other)
    await asyncio.sleep(10)
    assert here.gate.closed


async def test_a_silo_that_is_fenced_for_too_long_gives_up(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10)
    here.cut(B)
    here.table_is_there = False
    fenced = await here.closed()
    while not here.errors:
        await asyncio.sleep(0.1)
    assert here.now - fenced == pytest.approx(OPTIONS.fence_limit, abs=0.5)
    here.table_is_there = True
    await asyncio.sleep(MINUTE)
    assert len(here.errors) == 1
    assert here.gate.closed


async def test_who_was_given_up_never_starts_turns_again(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10)
    here.guard.end("this silo was declared dead")
    await asyncio.sleep(MINUTE)
    assert here.gate.fenced == "this silo was declared dead"
    assert here.reads == []


async def test_a_newer_version_that_a_probe_told_a_thread_reaches_the_loop(world: Make) -> None:
    here = world(B)
    here.vitals.heard(B, mutual=False, version=9)
    await asyncio.sleep(TICK + 0.01)
    assert 9 in here.hints


# --- the pause ----------------------------------------------------------------------------------------------------


async def test_a_turn_after_a_stop_finds_the_gate_closed_before_any_timer(
    world: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """F5: whatever runs first. One read of the table opens it again."""
    here = world(B, C)
    await asyncio.sleep(10.1)
    here.stand_still(2.0)
    assert here.gate.clock() > here.gate.until
    passing = asyncio.ensure_future(here.gate.passage())
    await asyncio.sleep(0)
    assert here.gate.closed
    assert not passing.done()
    stopped = here.now
    assert await passing is None
    assert here.now == stopped
    assert len(here.reads) == 1
    assert [record.event for record in caplog.records] == ["loop_blocked"]
    assert "2.1 s" in caplog.text or "2.0 s" in caplog.text


async def test_without_a_turn_the_watchdog_finds_it(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10.1)
    here.stand_still(1.2)
    await asyncio.sleep(0.001)
    assert len(here.reads) == 1
    assert not here.gate.closed


async def test_a_short_stop_is_none(world: Make) -> None:
    here = world(B, C)
    for _ in range(100):
        await asyncio.sleep(0.3)
        here.stand_still(OPTIONS.pause_gap - TICK - 0.01)
        assert await here.gate.passage() is None
    assert here.reads == []


async def test_a_zombie_stays_closed(world: Make) -> None:
    """F5: it was declared dead while it was stopped."""
    here = world(B, C)
    await asyncio.sleep(10.1)
    here.statuses[ME] = DEAD
    here.version = 9
    here.stand_still(12)
    passing = asyncio.ensure_future(here.gate.passage())
    await asyncio.sleep(MINUTE)
    assert here.gate.fenced
    assert str(await passing) == here.gate.fenced
    assert here.asked == []


async def test_probes_that_lay_in_the_queue_meanwhile_prove_nothing(world: Make) -> None:
    here = world(B)
    await asyncio.sleep(10.1)
    here.table_is_there = False
    here.reachable.clear()
    here.stand_still(12)
    here.vitals.heard(B, mutual=True)
    await asyncio.sleep(0.3)
    assert here.gate.closed


async def test_after_a_stop_without_a_table_everybody_is_asked(world: Make) -> None:
    here = world(B, C)
    await asyncio.sleep(10.1)
    here.table_is_there = False
    here.stand_still(2)
    await here.closed()
    began = here.now
    assert await here.opened() <= began + HEAD_START + 0.01
    assert len(here.asked) == 2


async def test_after_a_stop_without_a_table_a_newer_view_must_be_read_first(world: Make) -> None:
    here = world(B, C)
    await asyncio.sleep(10.1)
    here.table_is_there = False
    here.seen_by[C] = 8
    here.stand_still(12)
    await here.closed()
    await asyncio.sleep(MINUTE)
    assert here.gate.closed
    assert set(here.fetched) == {C}


async def test_a_read_that_began_before_the_stop_is_no_proof(world: Make) -> None:
    here = world(B, C)
    await asyncio.sleep(10)
    here.cut(B, C)
    here.read_takes = 0.3
    while not here.reads:
        await asyncio.sleep(0.01)
    here.stand_still(1.2)  # while that read is on its way
    closed = await here.closed()
    assert await here.opened() >= closed + here.read_takes - 0.002


async def test_a_stop_becomes_a_fence_only_if_no_proof_comes_soon(
    world: Make, caplog: pytest.LogCaptureFixture
) -> None:
    here = world(B)
    await asyncio.sleep(10.1)
    here.stand_still(5)
    await asyncio.sleep(0.001)
    assert not here.gate.closed
    assert [record.event for record in caplog.records] == ["loop_blocked"]

    here.table_is_there = False
    here.cut(B)
    here.stand_still(5)
    began = await here.closed()
    assert here.gate.fenced is None
    while here.gate.fenced is None:
        await asyncio.sleep(0.001)
    assert here.now == pytest.approx(began + AFTER_PAUSE, abs=0.01)


async def test_a_silo_alone_needs_only_the_table(world: Make) -> None:
    here = world()
    await asyncio.sleep(10)
    here.stand_still(60)
    passing = asyncio.ensure_future(here.gate.passage())
    began = here.now
    assert await passing is None
    assert here.now == began
    assert len(here.reads) == 1


def test_the_times_fit_together() -> None:
    """With a table that never answers, the next sweep is judged before the last one is too old."""
    assert max(READ_PATIENCE, HEAD_START + SWEEP_PATIENCE, ROUND) + SWEEP_PATIENCE < OPTIONS.fence_after
    assert OPTIONS.fence_after + 0.25 <= OPTIONS.vote_after
