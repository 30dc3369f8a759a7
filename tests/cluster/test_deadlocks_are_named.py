"""Calls that wait for each other fail with `DeadlockError`, which names the cycle; calls that only wait do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from grange import (
    CallError,
    DeadlockError,
    Grain,
    RemoteError,
    always_interleave,
    one_way,
    read_only,
    with_batch_size,
)
from grange.grains.reentrancy import allow_reentrancy
from grange.testing import TestCluster

FOUND_WITHIN = 2.0
"""Seconds of waiting within which a cycle is found."""


class Hop(Grain):
    """Calls the next grain of a route, from within its turn."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def go(self, route: list[str]) -> str:
        """Follow the route. Returns the cycle, if a call at its end was refused for one, else the last key."""
        if not route:
            return self.key
        try:
            return await self.get_grain(Hop, route[0]).go(route[1:])
        except DeadlockError as error:
            return " -> ".join(f"{grain}.{method}" for grain, method in error.cycle)

    async def meet(self, other: str) -> str:
        """Wait for the gate, then call the other grain."""
        await self.gate.wait()
        return await self.get_grain(Hop, other).go([])

    @always_interleave
    async def open_gate(self) -> None:
        self.gate.set()

    async def together(self, others: list[str], how: str) -> list[str]:
        """Have all the others call back, in a gather or in a task group."""
        calls = [self.get_grain(Hop, other).go([self.key]) for other in others]
        if how == "gather":
            return list(await asyncio.gather(*calls))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
        return [task.result() for task in tasks]

    async def in_the_background(self, other: str, seconds: float) -> str:
        """Start a call that comes back, do not await it for a while, and return before it does."""
        self.background = asyncio.ensure_future(self.get_grain(Hop, other).go([self.key]))
        await asyncio.sleep(seconds)
        return "done"

    @always_interleave
    async def result(self) -> str:
        return await self.background

    async def first_of(self, other: str, seconds: float) -> str:
        """Wait for the first of two: a call that comes back, or a time."""
        self.background = asyncio.ensure_future(self.get_grain(Hop, other).go([self.key]))
        await asyncio.wait([self.background], timeout=seconds)
        return "done"

    async def slowly(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return self.key

    async def then_slowly(self, other: str, seconds: float) -> str:
        return await self.get_grain(Hop, other).slowly(seconds)

    @one_way
    async def send(self, route: list[str]) -> None:
        if route:
            await self.get_grain(Hop, route[0]).send(route[1:])


class Streams(Grain):
    """Reads items of another one, whose generator calls it back."""

    async def touch(self) -> None: ...

    async def items(self, back: str, at: int) -> AsyncIterator[str]:
        """Call back after so many items, or from -1 on in the background."""
        call = asyncio.ensure_future(self.get_grain(Streams, back).touch()) if at < 0 else None
        for number in range(2 if at < 0 else at):
            await asyncio.sleep(2 if at < 0 else 0)
            yield str(number)
        if call is None:
            try:
                await self.get_grain(Streams, back).touch()
            except DeadlockError as error:
                yield " -> ".join(f"{grain}.{method}" for grain, method in error.cycle)

    async def read(self, source: str, at: int) -> list[str]:
        return [item async for item in with_batch_size(self.get_grain(Streams, source).items(self.key, at), 1)]


class Warned(Grain, detect_deadlocks="warn"):
    async def again(self) -> None:
        await self.reference.other()

    async def other(self) -> None:
        pass


class Unwatched(Grain, detect_deadlocks="off"):
    async def again(self) -> None:
        await self.reference.other()

    async def other(self) -> None:
        pass


class Starting(Grain):
    """Has another grain call it while it activates."""

    async def on_activate(self) -> None:
        await self.get_grain(Starter, self.key).call(self.reference)

    async def hello(self) -> str:
        return "hello"


class Starter(Grain):
    async def call(self, other: Starting) -> str:
        return await other.hello()


class Shelf(Grain):
    """Readers and writers that wait for what other grains do."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.log: list[str] = []

    @read_only
    async def read(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        self.log.append("read")
        return "read"

    async def write(self) -> str:
        self.log.append("write")
        return "write"

    @read_only
    async def read_through(self, keeper: str) -> str:
        """Ask a keeper, which reads here again."""
        return await self.get_grain(Keeper, keeper).read_there(self.key)

    @read_only
    async def read_when_told(self, keeper: str) -> str:
        await self.gate.wait()
        return await self.get_grain(Keeper, keeper).quick()

    @always_interleave
    async def open_gate(self) -> None:
        self.gate.set()

    @always_interleave
    async def logged(self) -> list[str]:
        return self.log


class Keeper(Grain):
    async def read_there(self, shelf: str) -> str:
        await asyncio.sleep(1)
        return await self.get_grain(Shelf, shelf).read(0)

    async def quick(self) -> str:
        return "quick"


GRAINS = [Hop, Warned, Unwatched, Starting, Starter, Shelf, Keeper]

each_size = pytest.mark.parametrize("silos", [1, 3])


def deadlocks(cluster: TestCluster) -> list[Any]:
    """The events of all silos about cycles."""
    rows = [row for silo in cluster.silos for row in silo._here("").ports.events.after(0, 2000)[0]]
    return [row for row in rows if row.name == "deadlock_found"]


async def seconds(cluster: TestCluster, code: Callable[[], Any]) -> tuple[Any, float]:
    """The result, and the virtual seconds that it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    return await code(), loop.time() - began


@each_size
@pytest.mark.parametrize("route", [["a", "a"], ["a", "b", "a"], ["a", "b", "c", "a"], ["a", *"bcdefgh", "a"]])
async def test_a_chain_that_comes_back_is_named(silos: int, route: list[str]) -> None:
    """REE-01: a grain that calls itself, also through others, does not wait until its time is over."""
    async with TestCluster(grains=GRAINS, silos=silos) as cluster:
        for key in route:
            await cluster.get_grain(Hop, key).go([])
        text, took = await seconds(cluster, lambda: cluster.get_grain(Hop, route[0]).go(route[1:]))
        assert text == " -> ".join(f"hop/{key}.go" for key in route)
        assert 0.5 <= took <= FOUND_WITHIN
        (event,) = deadlocks(cluster)
        assert event.facts["grain"] == "hop/a"
        assert event.facts["cycle"].endswith("hop/a.go (waits for its turn)")
        assert await cluster.get_grain(Hop, "a").go([]) == "a"


@each_size
async def test_two_chains_that_meet_are_named_and_one_of_them_goes_on(silos: int) -> None:
    """Of two independent chains, neither of which comes back to itself, one call is refused, and the other goes on."""
    async with TestCluster(grains=GRAINS, silos=silos) as cluster:
        for number in range(10):
            left, right = cluster.get_grain(Hop, f"l{number}"), cluster.get_grain(Hop, f"r{number}")
            calls = [asyncio.ensure_future(left.meet(f"r{number}")), asyncio.ensure_future(right.meet(f"l{number}"))]
            await cluster.advance(0.1)
            await asyncio.gather(left.open_gate(), right.open_gate())
            outcomes, took = await seconds(cluster, lambda calls=calls: asyncio.gather(*calls, return_exceptions=True))
            assert took <= FOUND_WITHIN
            refused = [each for each in outcomes if isinstance(each, RemoteError)]
            assert len(refused) == 1
            assert "DeadlockError" in str(refused[0])
            assert len(deadlocks(cluster)) == min(number + 1, 10)


@each_size
@pytest.mark.parametrize("at", [0, 2])
async def test_a_generator_that_calls_its_caller_is_named(silos: int, at: int) -> None:
    """REE-01: who waits for an item waits for all that the generator waits for, at the first item and at later ones."""
    async with TestCluster(grains=[Streams], silos=silos) as cluster:
        for number in range(4):
            reader, source = f"reader-{number}", f"source-{number}"
            items, took = await seconds(cluster, lambda: cluster.get_grain(Streams, reader).read(source, at))  # noqa: B023
            assert items[:at] == [str(item) for item in range(at)]
            fetch = "$next.items" if at else "items"
            assert items[at:] == [f"streams/{reader}.read -> streams/{source}.{fetch} -> streams/{reader}.touch"]
            assert 0.5 <= took <= FOUND_WITHIN
            assert len(deadlocks(cluster)) == number + 1


@each_size
async def test_a_generator_that_does_not_wait_for_its_caller_is_no_cycle(silos: int) -> None:
    """It calls its caller in the background, and takes long for an item."""
    async with TestCluster(grains=[Streams], silos=silos) as cluster:
        assert await cluster.get_grain(Streams, "reader").read("source", -1) == ["0", "1"]
        assert deadlocks(cluster) == []


@each_size
@pytest.mark.parametrize("how", ["gather", "task group"])
async def test_what_a_turn_waits_for_in_tasks_counts(silos: int, how: str) -> None:
    async with TestCluster(grains=GRAINS, silos=silos) as cluster:
        answers, took = await seconds(cluster, lambda: cluster.get_grain(Hop, "a").together(["b", "c"], how))
        assert sorted(answers) == sorted(
            ["hop/a.together -> hop/b.go -> hop/a.go", "hop/a.together -> hop/c.go -> hop/a.go"]
        )
        assert took <= FOUND_WITHIN


@each_size
@pytest.mark.parametrize("method", ["in_the_background", "first_of"])
async def test_a_call_that_its_turn_does_not_wait_for_is_no_cycle(silos: int, method: str) -> None:
    """The turn ends although a call that it made waits behind it; then that call is served."""
    async with TestCluster(grains=GRAINS, silos=silos) as cluster:
        grain = cluster.get_grain(Hop, "a")
        assert await getattr(grain, method)("b", 5.0) == "done"
        assert await grain.result() == "a"
        assert deadlocks(cluster) == []


@each_size
async def test_a_long_wait_is_no_cycle(silos: int) -> None:
    async with TestCluster(grains=GRAINS, silos=silos) as cluster:
        grains = [cluster.get_grain(Hop, key) for key in "abc"]
        calls = [grains[0].then_slowly("b", 5), grains[1].then_slowly("c", 5), grains[0].go(["c"]), grains[2].go([])]
        assert await asyncio.gather(*calls) == ["b", "c", "c", "c"]
        assert deadlocks(cluster) == []


async def test_a_one_way_call_is_no_edge() -> None:
    async with TestCluster(grains=GRAINS, silos=2) as cluster:
        await cluster.get_grain(Hop, "a").send(["b", "a", "a", "b"])
        await cluster.advance(5)
        assert deadlocks(cluster) == []


async def test_an_open_section_is_no_edge() -> None:
    class Open(Grain):
        async def go(self, route: list[str]) -> str:
            with allow_reentrancy():
                await asyncio.sleep(2)
                return await self.get_grain(Open, route[0]).go(route[1:]) if route else self.key

    async with TestCluster(grains=[Open], silos=2) as cluster:
        assert await cluster.get_grain(Open, "a").go(["b", "a", "b"]) == "b"
        assert deadlocks(cluster) == []


@each_size
async def test_a_grain_that_is_called_back_while_it_activates_is_named(silos: int) -> None:
    async with TestCluster(grains=GRAINS, silos=silos) as cluster:
        with pytest.raises(CallError, match=r"starting/x\.on_activate -> starter/x\.call -> starting/x\.hello"):
            await cluster.get_grain(Starting, "x").hello()


async def test_a_class_or_a_silo_only_warns_or_does_neither() -> None:
    async with TestCluster(grains=GRAINS, runtime={"response_timeout": 5.0}) as cluster:
        for kind, events in ((Warned, 1), (Unwatched, 1)):
            with pytest.raises(RemoteError, match="CallTimeout"):
                await cluster.get_grain(kind, "x").again()
            assert len(deadlocks(cluster)) == events
        assert deadlocks(cluster)[0].facts["outcome"].startswith("it waits on")
    async with TestCluster(grains=GRAINS, runtime={"response_timeout": 5.0, "detect_deadlocks": "off"}) as cluster:
        with pytest.raises(CallError, match="CallTimeout"):
            await cluster.get_grain(Hop, "a").go(["a"])
        assert deadlocks(cluster) == []


@each_size
async def test_a_writer_is_not_starved_by_readers(silos: int) -> None:
    async with TestCluster(grains=GRAINS, silos=silos) as cluster:
        shelf = cluster.get_grain(Shelf, "s")
        readers = [asyncio.ensure_future(shelf.read(1.0))]
        await cluster.advance(0.3)
        writer = asyncio.ensure_future(shelf.write())
        for _ in range(10):  # each begins before the one before it has ended
            await cluster.advance(0.3)
            readers.append(asyncio.ensure_future(shelf.read(1.0)))
        await asyncio.gather(writer, *readers)
        assert (await shelf.logged())[:2] == ["read", "write"]


@each_size
async def test_a_reader_that_a_running_reader_waits_for_passes_the_writer(silos: int) -> None:
    async with TestCluster(grains=GRAINS, silos=silos) as cluster:
        shelf = cluster.get_grain(Shelf, "s")
        through = asyncio.ensure_future(shelf.read_through("k"))
        await cluster.advance(0.5)
        writer = asyncio.ensure_future(shelf.write())
        assert await asyncio.gather(through, writer) == ["read", "write"]
        assert await shelf.logged() == ["read", "write"]
        assert deadlocks(cluster) == []


@each_size
async def test_a_reader_of_another_chain_passes_the_writer_if_all_would_wait(silos: int) -> None:
    """The running reader waits for the keeper, that for a second reader, that behind the writer, that for the first."""
    async with TestCluster(grains=GRAINS, silos=silos) as cluster:
        shelf, keeper = cluster.get_grain(Shelf, "s"), cluster.get_grain(Keeper, "k")
        first = asyncio.ensure_future(shelf.read_when_told("k"))
        await cluster.advance(0.1)
        writer = asyncio.ensure_future(shelf.write())
        second = asyncio.ensure_future(keeper.read_there("s"))
        await cluster.advance(0.5)
        await shelf.open_gate()
        outcomes, took = await seconds(cluster, lambda: asyncio.gather(first, writer, second))
        assert outcomes == ["quick", "write", "read"]
        assert took <= 1 + FOUND_WITHIN
        assert deadlocks(cluster) == []
