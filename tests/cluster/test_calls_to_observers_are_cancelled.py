"""Calls to observers are cancelled as calls to grains are: while they wait, and while they run (CAN-10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from grange import (
    ConfigurationError,
    Grain,
    GrainObserver,
    always_interleave,
    blocking,
    cancellable,
    rate_limited,
    response_timeout,
)
from grange.client.client import Client
from grange.testing.cluster import TestCluster


class Panel(GrainObserver):
    @cancellable
    async def show(self, text: str) -> str: ...

    @cancellable(wait=True)
    async def settle(self, text: str) -> str: ...

    @cancellable
    @response_timeout(2, cancel=True)
    async def hurry(self, text: str) -> str: ...

    async def keep(self, text: str) -> str: ...


class Slow(Panel):
    """Each call takes ten seconds. It keeps what began, what was interrupted, and what completed."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.cancelled: list[str] = []
        self.completed: list[str] = []

    @cancellable
    async def show(self, text: str) -> str:
        return await self._work(text)

    async def settle(self, text: str) -> str:
        try:
            return await self._work(text)
        except asyncio.CancelledError:
            return f"{text} all the same"

    async def hurry(self, text: str) -> str:
        return await self._work(text)

    async def keep(self, text: str) -> str:
        return await self._work(text)

    async def _work(self, text: str) -> str:
        self.began.append(text)
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            self.cancelled.append(text)
            raise
        self.completed.append(text)
        return text


class Calls(Grain):
    """Calls a panel, and cancels its call after some seconds."""

    @always_interleave
    async def cancel(self, panel: Panel, method: str, text: str, after: float) -> str:
        call = asyncio.create_task(getattr(panel, method)(text))
        await asyncio.sleep(after)
        call.cancel()
        (outcome,) = await asyncio.gather(call, return_exceptions=True)
        return outcome if isinstance(outcome, str) else type(outcome).__name__

    @always_interleave
    async def outcome(self, panel: Panel, method: str, text: str) -> str:
        try:
            return str(await getattr(panel, method)(text))
        except Exception as error:
            return type(error).__name__

    @cancellable
    async def show_each(self, panels: list[Panel]) -> list[str]:
        return list(await asyncio.gather(*(panel.show("both") for panel in panels)))


@pytest.fixture(params=["of a client", "of another silo's client", "of the silo"])
async def at(request: pytest.FixtureRequest) -> AsyncIterator[tuple[TestCluster, Calls, list[Slow], list[Panel]]]:
    """A grain, and two observers: of a client of its silo, of a client of another silo, or in its silo's process."""
    async with TestCluster([Calls], silos=2) as cluster:
        grain = cluster.get_grain(Calls, "a")
        slow = [Slow(), Slow()]
        await grain.outcome(cluster.client.create_observer(Slow()), "none", "x")
        home = cluster.where(grain)
        other = next(silo for silo in cluster.silos if silo is not home)
        assert home is not None
        if request.param == "of the silo":
            owner = home.client
            yield cluster, grain, slow, [owner.create_observer(each) for each in slow]
        else:
            place, unreached = (home, other) if request.param == "of a client" else (other, home)
            cluster.network.partition("apart", unreached.address.endpoint)
            async with Client([place.gateway], transport=cluster.new_transport("apart")) as client:
                yield cluster, grain, slow, [client.create_observer(each) for each in slow]


At = tuple[TestCluster, Calls, list[Slow], list[Panel]]


async def test_a_running_call_is_interrupted(at: At) -> None:
    """CAN-10: at once, after a moment, and after a second; the observer records each."""
    cluster, grain, (slow, _), (panel, _) = at
    for name, after in (("a", 0.01), ("b", 0.3), ("c", 1)):
        assert await grain.cancel(panel, "show", name, after) == "CancelledError"
        await cluster.advance(0.1)
    assert (slow.began, slow.cancelled, slow.completed) == (["a", "b", "c"], ["a", "b", "c"], [])


async def test_a_waiting_call_leaves_the_queue(at: At) -> None:
    """CAN-10: it does not run; the one before it is not disturbed."""
    cluster, grain, (slow, _), (panel, _) = at
    first = asyncio.create_task(grain.outcome(panel, "show", "first"))
    await cluster.advance(0.1)
    assert await grain.cancel(panel, "show", "second", 1) == "CancelledError"
    assert await first == "first"
    assert (slow.began, slow.cancelled, slow.completed) == (["first"], [], ["first"])


async def test_one_cancellation_reaches_several_observers(at: At) -> None:
    """CAN-10: through the grain that calls them."""
    cluster, grain, slow, panels = at
    call = asyncio.create_task(grain.show_each(panels))
    await cluster.advance(1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await cluster.advance(0.1)
    assert [each.cancelled for each in slow] == [["both"], ["both"]]


async def test_a_method_that_is_not_cancellable_completes(at: At) -> None:
    """CAN-10: its caller waits no longer."""
    cluster, grain, (slow, _), (panel, _) = at
    assert await grain.cancel(panel, "keep", "kept", 1) == "CancelledError"
    await cluster.advance(10)
    assert (slow.cancelled, slow.completed) == ([], ["kept"])


async def test_a_caller_may_wait_for_the_end(at: At) -> None:
    """CAN-10, CAN-07: with `wait=True` it gets the result of a call that completed all the same."""
    _, grain, (slow, _), (panel, _) = at
    assert await grain.cancel(panel, "settle", "text", 1) == "text all the same"
    assert slow.cancelled == ["text"]


async def test_a_time_out_may_cancel(at: At) -> None:
    """CAN-10: `@response_timeout(…, cancel=True)`; the observer takes its next call."""
    cluster, grain, (slow, _), (panel, _) = at
    assert await grain.outcome(panel, "hurry", "late") == "CallTimeout"
    await cluster.advance(0.1)
    assert slow.cancelled == ["late"]
    assert await grain.outcome(panel, "keep", "next") == "next"


def test_what_an_observer_cannot_do_is_refused() -> None:
    """An option or a kind of method without effect on an observer is an error that says so."""
    with pytest.raises(ConfigurationError, match="streams no results"):

        class Streams(GrainObserver):
            async def items(self) -> AsyncIterator[int]:
                yield 1

    with pytest.raises(ConfigurationError, match=r"@rate_limited.* has no effect on an observer"):

        class Limited(GrainObserver):
            @rate_limited(5)
            async def show(self) -> None: ...

    with pytest.raises(ConfigurationError, match="no effect on an observer"):

        class Blocks(GrainObserver):
            @blocking
            def show(self) -> None: ...
