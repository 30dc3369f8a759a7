"""`@blocking` methods: plain code in a thread, under the rules of turns (BLK)."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
import svcs

from grange import (
    CallTimeout,
    ConfigurationError,
    Grain,
    PersistentState,
    RemoteError,
    always_interleave,
    blocking,
    from_thread,
    read_only,
    request_context,
    response_timeout,
)
from grange.grains.decorators import one_way
from grange.testing import TestContext
from grange.testing.cluster import TestCluster


class Latch:
    """Holds threads until the test opens it, and shows what ran."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.notes: list[Any] = []

    def wait(self) -> None:
        self.reached.set()
        assert self.opened.wait(10)


async def until_set(event: threading.Event) -> None:
    """Wait in the loop until a thread has set this."""
    while not event.is_set():
        await asyncio.to_thread(event.wait, 1)


def with_latch(latch: Latch) -> svcs.Registry:
    registry = svcs.Registry()
    registry.register_value(Latch, latch)
    return registry


@dataclass
class Amounts:
    values: list[int] = field(default_factory=list)


class Press(Grain):
    def __init__(self, latch: Latch, state: PersistentState[Amounts]) -> None:
        self.latch = latch
        self.state = state

    @blocking
    def where(self) -> tuple[str, str]:
        """The name of the thread, and the tenant of the caller."""
        return threading.current_thread().name, str(request_context.get("tenant"))

    @blocking
    def add(self, value: int, *, times: int = 1) -> list[int]:
        """Change the state and store it, from a thread."""
        self.state.value.values += [value] * times
        from_thread(self.state.write)
        return self.state.value.values

    @blocking
    def fail(self) -> None:
        raise LookupError("out of ink")

    @blocking
    def stop_iteration(self) -> None:
        raise StopIteration

    @response_timeout(5)
    @blocking
    def hold(self, name: str = "held") -> str:
        self.latch.notes.append(name)
        self.latch.wait()
        return name

    @always_interleave
    async def peek(self) -> int:
        return len(self.latch.notes)

    async def turn(self) -> str:
        return threading.current_thread().name

    @blocking
    def ask(self, other: str) -> str:
        request_context["tenant"] = "of the thread"
        return from_thread(self.get_grain(Press, other).where)[1]

    @blocking
    def misuse(self, other: str) -> None:
        asyncio.run(self.get_grain(Press, other).turn())  # type: ignore[arg-type]

    @blocking
    def sleep_in_turn(self) -> str:
        try:
            from_thread(asyncio.sleep, 1000)
        except asyncio.CancelledError:
            self.latch.notes.append("interrupted")
            raise
        return "slept"

    @one_way
    @blocking
    def note(self, text: str) -> None:
        self.latch.notes.append(text)


async def test_a_blocking_method_runs_in_a_thread_with_the_context_of_the_call() -> None:
    """BLK-01: and the loop runs on meanwhile."""
    latch = Latch()
    async with TestCluster([Press], services=with_latch(latch)) as cluster:
        press = cluster.get_grain(Press, "a")
        request_context["tenant"] = "acme"
        assert await press.where() == ("grange-blocking", "acme")
        assert await press.turn() == threading.current_thread().name
        held = asyncio.ensure_future(press.hold())
        await until_set(latch.reached)
        assert await cluster.get_grain(Press, "b").turn()
        latch.opened.set()
        assert await held == "held"


async def test_results_errors_and_keywords_are_those_of_any_method() -> None:
    """BLK-01: near and far."""
    async with TestCluster([Press], silos=3, services=with_latch(Latch())) as cluster:
        for key in "abcd":
            press = cluster.get_grain(Press, key)
            assert await press.add(1, times=2) == [1, 1]
            with pytest.raises(LookupError, match="out of ink"):
                await press.fail()
            with pytest.raises(RuntimeError, match="raised StopIteration"):
                await press.stop_iteration()


async def test_nothing_of_the_activation_runs_beside_a_blocking_method() -> None:
    """BLK-02: not even a method that always interleaves, because it would run in parallel."""
    latch = Latch()
    async with TestCluster([Press], services=with_latch(latch)) as cluster:
        press = cluster.get_grain(Press, "a")
        held = asyncio.ensure_future(press.hold())
        await until_set(latch.reached)
        waiting = [asyncio.ensure_future(call) for call in (press.peek(), press.turn(), press.add(1))]
        for _ in range(200):
            await asyncio.sleep(0)
        assert not any(call.done() for call in waiting)
        latch.opened.set()
        await held
        assert await waiting[0] == 1
        assert await waiting[2] == [1]


async def test_state_and_grains_are_used_in_the_turn() -> None:
    """BLK-03: `from_thread` awaits in the turn itself, with the request context of the thread; errors come back."""
    async with TestCluster([Press], silos=2, services=with_latch(Latch())) as cluster:
        assert await cluster.get_grain(Press, "a").ask("b") == "of the thread"
        assert await cluster.get_grain(Press, "a").add(5) == [5]
        with pytest.raises(RemoteError, match=r"WrongLoop.*from_thread"):
            await cluster.get_grain(Press, "a").misuse("b")
    with pytest.raises(RuntimeError, match="belongs into a @blocking method"):
        from_thread(asyncio.sleep, 0)


async def test_a_thread_that_waits_in_its_turn_is_interrupted_when_the_silo_gives_up() -> None:
    """BLK-04: the cancellation of the turn is raised in the thread, where it waits for the loop."""
    latch = Latch()
    async with TestCluster([Press], services=with_latch(latch), drain_timeout=2) as cluster:
        press = cluster.get_grain(Press, "a")
        call = asyncio.ensure_future(press.sleep_in_turn())
        await cluster.advance(1)
        silo = cluster.where(press)
        assert silo is not None
        await cluster.stop(silo)
        assert latch.notes == ["interrupted"]
        (error,) = await asyncio.gather(call, return_exceptions=True)
        assert type(error).__name__ == "SiloStopped"


async def test_a_turn_that_waits_for_a_thread_has_not_started() -> None:
    """BLK-05: one whose caller is gone never runs; the threads are bounded."""
    latch = Latch()
    async with TestCluster(
        [Press], silos=1, services=with_latch(latch), runtime={"blocking_threads": 2}, virtual_time=False
    ) as cluster:
        first = [asyncio.ensure_future(cluster.get_grain(Press, key).hold(key)) for key in "ab"]
        while len(latch.notes) < 2:
            await asyncio.sleep(0.01)
        third = asyncio.ensure_future(cluster.get_grain(Press, "c").hold("c"))
        fourth = asyncio.ensure_future(cluster.get_grain(Press, "d").hold("d"))
        threads = cluster.silos[0].catalog.deps.threads
        while threads.waiting < 2:
            await asyncio.sleep(0.01)
        assert threads.busy == 2
        third.cancel()
        while not third.done() or any(each.caller_gone is False for each in waiting_of(cluster, "c")):
            await asyncio.sleep(0.01)
        latch.opened.set()
        assert await asyncio.gather(*first, fourth) == ["a", "b", "d"]
        assert sorted(latch.notes) == ["a", "b", "d"]  # two threads begin in any order


def waiting_of(cluster: TestCluster, key: str) -> list[Any]:
    activation = cluster.activation(cluster.get_grain(Press, key))
    return [] if activation is None else list(activation.running)


async def test_a_time_out_is_exact_and_the_turn_completes() -> None:
    """BLK-04: the caller gets CallTimeout in time; the thread goes on, and the next call waits for it."""
    latch = Latch()
    async with TestCluster([Quick], silos=1, services=with_latch(latch), virtual_time=False) as cluster:
        quick = cluster.get_grain(Quick, "a")
        began = time.monotonic()
        with pytest.raises(CallTimeout):
            await quick.hold()
        assert time.monotonic() - began < 5
        again = asyncio.ensure_future(quick.name())
        await asyncio.sleep(0.05)
        assert not again.done()
        latch.opened.set()
        assert await again == "quick"


class Quick(Grain):
    def __init__(self, latch: Latch) -> None:
        self.latch = latch

    @response_timeout(0.1)
    @blocking
    def hold(self) -> None:
        self.latch.wait()

    async def name(self) -> str:
        return "quick"


async def test_one_way_and_drain() -> None:
    """BLK-06: a drain waits for the thread."""
    latch = Latch()
    async with TestCluster([Press], services=with_latch(latch)) as cluster:
        press = cluster.get_grain(Press, "a")
        await press.note("posted")
        held = asyncio.ensure_future(press.hold())
        await until_set(latch.reached)
        silo = cluster.where(press)
        assert silo is not None
        stopping = asyncio.ensure_future(cluster.stop(silo))
        await asyncio.to_thread(time.sleep, 0.05)
        assert not held.done()
        latch.opened.set()
        assert await held == "held"
        await stopping
        assert latch.notes == ["posted", "held"]


async def test_a_unit_test_needs_no_silo() -> None:
    """BLK-07: with a context and without."""
    press = TestContext(Press, "a").build(Latch(), PersistentState.detached(Amounts()))
    assert (await press.where())[0] == "grange-blocking"
    assert await press.add(3) == [3]
    alone = Press(Latch(), PersistentState.detached(Amounts()))
    assert await alone.add(4) == [4]


def test_what_cannot_block_is_refused_at_definition() -> None:
    """BLK-08: each with the remedy."""
    with pytest.raises(ConfigurationError, match=r"_Async\.work is an async def; write it without async"):

        class _Async(Grain):
            @blocking
            async def work(self) -> None: ...

    with pytest.raises(ConfigurationError, match="contradict each other"):

        class _Read(Grain):
            @read_only
            @blocking
            def work(self) -> None: ...

    with pytest.raises(ConfigurationError, match="above @blocking"):

        class _Order(Grain):
            @blocking
            @response_timeout(5)  # type: ignore[type-var]
            def work(self) -> None: ...


class Derived(Press):
    """An async method takes the place of a blocking one."""

    async def where(self) -> tuple[str, str]:  # type: ignore[override]
        return "here", (await super().where())[0]


async def test_an_override_decides_for_itself() -> None:
    """BLK-08: it may be async, and calls the other by `super()`."""
    async with TestCluster([Derived], services=with_latch(Latch())) as cluster:
        assert await cluster.get_grain(Derived, "a").where() == ("here", "grange-blocking")


@pytest.mark.filterwarnings("error")
def test_from_thread_takes_the_function() -> None:
    """A call in its place would be made in the thread, by no event loop."""

    async def work() -> None: ...

    wrong: Any = work()
    with pytest.raises(TypeError, match="from_thread takes the function and its arguments"):
        from_thread(wrong)
