"""Deadlines expire in sweeps: never early, at most one sweep late, without a timer per call."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.aio.portions import PORTION
from grange.runtime.requests.deadlines import (
    MAX_TIMEOUT_MS,
    SWEEP_INTERVAL,
    DeadlineOrder,
    Deadlines,
    milliseconds_until,
    until,
)
from grange.testing.loop import VirtualTime


class Entry:
    """Records when it expires."""

    def __init__(self, then: Callable[[], None] | None = None) -> None:
        self.expired: list[float] = []
        self.then = then

    def expire(self) -> None:
        self.expired.append(asyncio.get_running_loop().time())
        if self.then is not None:
            self.then()


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.floats(0, 1e6))
def test_every_deadline_is_met_within_a_step(delays: list[float], start: float) -> None:
    """With any start of the clock, an entry expires once, not early, and at most one sweep interval late."""

    async def check() -> None:
        loop = asyncio.get_running_loop()
        with VirtualTime(loop).installed():
            await asyncio.sleep(start)
            deadlines, now = Deadlines(), loop.time()
            entries = [(Entry(), now + delay) for delay in delays]
            for entry, when in entries:
                deadlines.add(entry, when)
            await asyncio.sleep(101)
            for entry, when in entries:
                (expired,) = entry.expired
                assert when - 1e-6 <= expired <= when + SWEEP_INTERVAL + 1e-6

    asyncio.run(check())


async def test_an_entry_that_ended_in_time_does_not_expire(time: VirtualTime) -> None:
    deadlines, entries = Deadlines(), [Entry() for _ in range(10)]
    when = time.time() + 1
    steps = [deadlines.add(entry, when) for entry in entries]
    for entry, step in zip(entries[::2], steps[::2], strict=True):
        deadlines.discard(entry, step)
        deadlines.discard(entry, step)
    await asyncio.sleep(2)
    assert [len(entry.expired) for entry in entries] == [0, 1] * 5


async def test_calls_share_their_timers(time: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand calls with one time-out need one timer, and no timer is left after them."""
    loop = asyncio.get_running_loop()
    handles: list[asyncio.TimerHandle] = []
    real = loop.call_at

    def counting(*args: object, **kwargs: object) -> asyncio.TimerHandle:
        handles.append(real(*args, **kwargs))  # type: ignore[arg-type]
        return handles[-1]

    monkeypatch.setattr(loop, "call_at", counting)
    deadlines, entries = Deadlines(), [Entry() for _ in range(1000)]
    steps = [deadlines.add(entry, loop.time() + 30) for entry in entries]
    assert len(handles) == 1
    for entry, step in zip(entries, steps, strict=True):
        deadlines.discard(entry, step)
    assert handles[0].cancelled()


async def test_an_endless_deadline_never_comes(time: VirtualTime) -> None:
    deadlines, entry = Deadlines(), Entry()
    step = deadlines.add(entry, math.inf)
    await asyncio.sleep(1e6)
    deadlines.discard(entry, step)
    assert entry.expired == []


async def test_an_entry_that_expires_may_end_and_add_others(time: VirtualTime) -> None:
    """An entry that expires may discard another of the same sweep, which then does not expire, or add a late one."""
    deadlines, late = Deadlines(), Entry()
    when = time.time() + 1
    neighbour = Entry()

    def at_expiry() -> None:
        deadlines.discard(neighbour, step)
        deadlines.add(late, when)

    first = Entry(at_expiry)
    deadlines.add(first, when)
    step = deadlines.add(neighbour, when)
    await asyncio.sleep(2)
    assert len(first.expired) == len(late.expired) == 1
    assert neighbour.expired == []


async def test_an_entry_that_ends_right_after_the_process_was_stopped_does_not_expire(time: VirtualTime) -> None:
    """F4: its answer may wait in a socket, so the sweep is put off; the others expire then."""
    deadlines, answered, missed = Deadlines(), Entry(), Entry()
    step = deadlines.add(answered, time.time() + 5)
    deadlines.add(missed, time.time() + 5)
    await asyncio.sleep(1)
    time._now += 15  # the process is stopped
    await asyncio.sleep(0.1)
    assert answered.expired == missed.expired == []
    deadlines.discard(answered, step)
    await asyncio.sleep(5)
    assert (len(answered.expired), len(missed.expired)) == (0, 1)


async def test_many_entries_expire_in_portions(time: VirtualTime) -> None:
    """Ten thousand calls that expire in one moment must not hold the loop. Those that end meanwhile do not expire."""
    deadlines, entries = Deadlines(), [Entry() for _ in range(10_000)]
    watching: list[asyncio.Task[None]] = []
    rounds: list[int] = []

    async def watch() -> None:
        deadlines.discard(entries[-1], steps[-1])
        while not entries[-2].expired:
            rounds.append(sum(bool(entry.expired) for entry in entries))
            await asyncio.sleep(0)

    entries[0].then = lambda: watching.append(asyncio.ensure_future(watch()))
    steps = [deadlines.add(entry, time.time() + 1) for entry in entries]
    await asyncio.sleep(2)
    await watching[0]
    assert max(after - before for before, after in pairwise(rounds)) <= PORTION
    assert entries[-1].expired == []
    assert all(len(entry.expired) == 1 for entry in entries[:-1])


async def test_closing_expires_all_entries_at_once(time: VirtualTime) -> None:
    """No sweep follows, so no entry may be left to wait for one."""
    deadlines, entries = Deadlines(), [Entry() for _ in range(3)]
    for number, entry in enumerate(entries):
        deadlines.add(entry, time.time() + 1 + number)
    deadlines.close()
    now = time.time()
    await asyncio.sleep(10)
    assert [entry.expired for entry in entries] == [[now]] * 3


async def test_closing_holds_the_loop_for_a_portion_at_a_time(time: VirtualTime) -> None:
    """Ten thousand calls wait when their silo or client ends. They end in the order in which they were due."""
    deadlines, order = Deadlines(), list[int]()
    entries = [Entry(lambda number=number: order.append(number)) for number in range(10_000)]  # type: ignore[misc]
    for number, entry in enumerate(entries):
        deadlines.add(entry, time.time() + 1 + number % 7)
    deadlines.close()
    sizes = [0]
    while sizes[-1] < len(entries):
        sizes.append(len(order))
        await asyncio.sleep(0)
    assert max(after - before for before, after in pairwise(sizes)) <= PORTION
    assert order == sorted(range(10_000), key=lambda number: (number % 7, number))


class Waiting(Entry):
    """An entry of a `DeadlineOrder`."""

    def __init__(self, order: DeadlineOrder[Waiting], number: int, deadline: float) -> None:
        super().__init__()
        self.order, self.number, self.deadline = order, number, deadline
        order.entries[number] = self
        if order.idle:
            order.start(deadline)

    def expire(self) -> None:
        del self.order.entries[self.number]
        super().expire()


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), min_size=1, max_size=30), st.floats(0, 1e6))
def test_deadlines_in_order_are_met_within_a_step(calls: list[tuple[float, bool]], start: float) -> None:
    """With any pauses between calls of one time-out, also when some of them end in time."""

    async def check() -> None:
        loop = asyncio.get_running_loop()
        with VirtualTime(loop).installed():
            await asyncio.sleep(start)
            order: DeadlineOrder[Waiting] = DeadlineOrder(loop)
            waiting: list[tuple[Waiting, bool]] = []
            for number, (pause, ends) in enumerate(calls):
                await asyncio.sleep(pause)
                entry = Waiting(order, number, loop.time() + 5)
                waiting.append((entry, ends))
                if ends:
                    loop.call_later(2, order.entries.pop, number)
            await asyncio.sleep(100)
            assert order.idle
            for entry, ends in waiting:
                assert len(entry.expired) == (0 if ends else 1)
                for expired in entry.expired:
                    assert entry.deadline - 1e-6 <= expired <= entry.deadline + SWEEP_INTERVAL + 1e-6

    asyncio.run(check())


async def test_time_left_on_the_wire(time: VirtualTime) -> None:
    """0 means "no limit", so a deadline that has passed gives 1."""
    now = time.time()
    assert milliseconds_until(math.inf) == 0
    assert milliseconds_until(now + 1.5) == 1500
    assert milliseconds_until(now - 5) == 1
    assert milliseconds_until(now) == 1
    assert milliseconds_until(now + 0.0004) == 1
    assert milliseconds_until(now + MAX_TIMEOUT_MS / 1000 + 1) == 0


async def test_until_ends_at_its_time_or_never(time: VirtualTime) -> None:
    before = time.time()
    with pytest.raises(TimeoutError):
        async with until(before + 3):
            await asyncio.sleep(10)
    assert time.time() == before + 3
    async with until(math.inf):
        await asyncio.sleep(1e6)
