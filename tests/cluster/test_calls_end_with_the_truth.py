"""Calls: results, errors, time-outs, one-way, copies, cancellation (CAL)."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
from dataclasses import dataclass
from uuid import UUID, uuid4

import msgspec
import pytest

from grange import (
    CallCancelled,
    CallTimeout,
    Grain,
    InvalidCall,
    InvalidResult,
    NoSuchMethod,
    PayloadTooLarge,
    RemoteError,
    one_way,
    response_timeout,
)
from grange.testing.cluster import TestCluster


class OutOfStock(Exception):
    def __init__(self, sku: str, left: int) -> None:
        super().__init__(f"{sku}: {left} left")
        self.left = left


class Unregistered(Exception):
    pass


class Thrower(Grain, errors=[OutOfStock]):
    async def value_error(self) -> None:
        raise ValueError("bad value")

    async def key_error(self) -> None:
        await asyncio.sleep(0)
        raise KeyError("missing")

    async def out_of_stock(self) -> None:
        raise OutOfStock("apple", 3)

    async def unregistered(self) -> None:
        raise Unregistered("an unknown class")

    async def cancelled(self) -> None:
        raise asyncio.CancelledError

    async def nested_timeout(self) -> None:
        await self.get_grain(Sleeper, "s").short(10)


class Forwarder(Grain, errors=[OutOfStock]):
    async def forward(self, kind: str) -> None:
        thrower = self.get_grain(Thrower, "t")
        await getattr(thrower, kind)()


class Sleeper(Grain):
    def __init__(self) -> None:
        self.done = 0

    @response_timeout(2)
    async def short(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.done += 1

    async def default(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def completed(self) -> int:
        return self.done


def callers(cluster: TestCluster, cls: type, key: str) -> list:
    """References to one grain from the client and from each silo, so that one call is local and one is remote."""
    here = cluster.get_grain(cls, key)
    return [here, *(silo.get_grain(cls, key) for silo in cluster.silos)]


async def test_errors_keep_type_and_message() -> None:
    """CAL-01: two builtin types and a registered one, in local and remote calls."""
    async with TestCluster([Thrower]) as cluster:
        for grain in callers(cluster, Thrower, "a"):
            with pytest.raises(ValueError, match="bad value"):
                await grain.value_error()
            with pytest.raises(KeyError, match="missing"):
                await grain.key_error()
            with pytest.raises(OutOfStock, match="apple: 3 left") as caught:
                await grain.out_of_stock()
            assert caught.value.left == 3


async def test_unregistered_errors_arrive_as_remote_errors() -> None:
    """In local and remote calls alike: a class that is not registered here is named, never imported."""
    async with TestCluster([Thrower]) as cluster:
        for grain in callers(cluster, Thrower, "a"):
            with pytest.raises(RemoteError, match="Unregistered: an unknown class") as caught:
                await grain.unregistered()
            assert caught.value.type_name.endswith(".Unregistered")


async def test_errors_carry_the_remote_stack() -> None:
    """CAL-02: the remote method's name is in the notes, also after the error is raised again here."""
    async with TestCluster([Thrower]) as cluster:

        async def raise_again() -> None:
            try:
                await cluster.get_grain(Thrower, "a").value_error()
            except ValueError as error:
                raise error from None

        with pytest.raises(ValueError, match="bad value") as caught:
            await raise_again()
        assert "in value_error" in "".join(caught.value.__notes__)


async def test_a_method_that_ends_cancelled_does_not_cancel_its_caller() -> None:
    """CAL-04: the caller gets a cancellation error as the result, and its own task goes on."""
    async with TestCluster([Thrower]) as cluster:
        for grain in callers(cluster, Thrower, "a"):
            with pytest.raises(CallCancelled):
                await grain.cancelled()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


@pytest.mark.parametrize(
    ("kind", "error"), [("value_error", ValueError), ("out_of_stock", OutOfStock), ("unregistered", RemoteError)]
)
async def test_errors_pass_through_an_intermediate_grain(kind: str, error: type[Exception]) -> None:
    """CAL-05: an error of a grain that another grain called reaches the outer caller unchanged."""
    async with TestCluster([Thrower, Forwarder], silos=3) as cluster:
        for number in range(4):
            with pytest.raises(error):
                await cluster.get_grain(Forwarder, str(number)).forward(kind)


async def test_the_outcome_of_an_inner_call_is_never_reported_as_that_of_the_outer_call() -> None:
    """If a call inside a method times out, the method was executed and raised."""
    async with TestCluster([Thrower, Sleeper]) as cluster:
        for grain in callers(cluster, Thrower, "a"):
            with pytest.raises(RemoteError, match="CallTimeout"):
                await grain.nested_timeout()


async def test_errors_are_raised_by_the_await() -> None:
    """CAL-06: the call expression does not raise, and a repeated call behaves the same."""
    async with TestCluster([Thrower]) as cluster:
        grain = cluster.get_grain(Thrower, "a")
        for _ in range(2):
            awaitable = grain.value_error()
            with pytest.raises(ValueError, match="bad value"):
                await awaitable


async def test_a_long_call_times_out() -> None:
    """CAL-08: at the time-out, neither early nor late. The callee completes, and no request stays pending."""
    async with TestCluster([Sleeper]) as cluster:
        loop = asyncio.get_running_loop()
        for grain in callers(cluster, Sleeper, "a"):
            before = loop.time()
            with pytest.raises(CallTimeout, match=r"sleeper/a.short timed out"):
                await grain.short(10)
            assert 2 - 1e-9 <= loop.time() - before < 2.1  # but for the last digit of a float
            await cluster.advance(10)
        assert await cluster.get_grain(Sleeper, "a").completed() == 3
        assert all(silo.management.state().requests == 0 for silo in cluster.silos)


async def test_time_outs_come_from_the_method_or_the_default() -> None:
    """CAL-09: 2 s by the decorator, else the default of 30 s. The message reports the status of a local call."""
    async with TestCluster([Sleeper], silos=1) as cluster:
        loop, grain = asyncio.get_running_loop(), cluster.silos[0].get_grain(Sleeper, "a")
        before = loop.time()
        with pytest.raises(CallTimeout, match=r"running for 30\.0 s"):
            await grain.default(60)
        assert 30 - 1e-9 <= loop.time() - before < 30.1  # but for the last digit of a float


async def test_expired_requests_are_dropped_before_they_run() -> None:
    """A request that expires in the mailbox never reaches user code."""
    async with TestCluster([Sleeper]) as cluster:
        grain = cluster.get_grain(Sleeper, "a")
        running = asyncio.create_task(grain.default(5))
        await cluster.advance(0.1)
        with pytest.raises(CallTimeout):
            await grain.short(0)
        await running
        assert await grain.completed() == 0


class Counter(Grain):
    def __init__(self) -> None:
        self.count = 0
        self.changed = asyncio.Event()

    @one_way
    async def hit(self) -> None:
        await asyncio.sleep(1)
        self.count += 1

    @one_way
    async def fail(self) -> None:
        raise ValueError("only logged")

    async def get(self) -> int:
        return self.count

    @response_timeout(50)
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Hitter(Grain):
    async def hit(self) -> int:
        counter = self.get_grain(Counter, "c")
        await counter.hit()
        return 1


async def test_one_way_calls_return_before_they_run(caplog: pytest.LogCaptureFixture) -> None:
    """CAL-10: the call returns at once, and its effect comes later. Errors are logged, not raised."""
    async with TestCluster([Counter, Hitter]) as cluster:
        loop = asyncio.get_running_loop()
        for number, grain in enumerate(callers(cluster, Counter, "c")):
            before = loop.time()
            await grain.hit()
            assert loop.time() - before < 0.5
            await cluster.advance(2)
            assert await grain.get() == number + 1
        await cluster.get_grain(Counter, "c").fail()
        await cluster.get_grain(Hitter, "h").hit()
        await cluster.advance(2)
        assert await cluster.get_grain(Counter, "c").get() == 4
    assert "one-way call counter/c.fail failed" in caplog.text


async def test_a_one_way_call_that_cannot_start_in_its_time_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """CAL-10: from near as from far: it gives its place back, is logged, and never runs."""
    async with TestCluster([Counter], silos=2) as cluster:
        counter = cluster.get_grain(Counter, "c")
        await counter.get()
        for grain in callers(cluster, Counter, "c"):
            caplog.clear()
            busy = asyncio.create_task(counter.sleep(40))
            await cluster.advance(0.1)
            await grain.hit()
            await cluster.advance(31)
            messages = [record.getMessage() for record in caplog.records]
            assert messages.count("one-way call counter/c.hit failed") == 1, messages
            await busy
        assert await counter.get() == 0


@dataclass
class Point:
    x: int
    tags: list[str] = dataclasses.field(default_factory=list)


class Frozen(msgspec.Struct, frozen=True):
    x: int


class Colour(enum.Enum):
    RED = "red"


class Echo(Grain):
    kept: object = None

    async def points(self, value: list[Point]) -> list[Point]:
        self.kept = value
        return value

    async def mapping(self, value: dict[str, list[int]]) -> dict[str, list[int]]:
        return value

    async def text(self, value: str) -> str:
        return value

    async def frozen(self, value: Frozen) -> Frozen:
        return value

    async def reference_to(self, value: Echo) -> Echo:
        return value

    async def many(
        self, number: int, colour: Colour = Colour.RED, *, ident: UUID | None = None
    ) -> tuple[int, str, str]:
        return number, colour.value, str(ident)

    async def big(self, size: int) -> bytes:
        return b"x" * size

    async def take(self, data: bytes) -> int:
        return len(data)

    async def lies(self) -> int:
        return "not a number"  # type: ignore[return-value]


async def test_arguments_and_results_are_copies_even_locally() -> None:
    """CAL-11: mutable values are other objects; texts and references, which cannot change, keep identity."""
    async with TestCluster([Echo], silos=1) as cluster:
        grain = cluster.silos[0].get_grain(Echo, "a")
        points = [Point(1, ["a"])]
        echoed = await grain.points(points)
        assert echoed == points
        assert echoed is not points
        assert echoed[0].tags is not points[0].tags
        mapping = {"a": [1]}
        assert (await grain.mapping(mapping))["a"] is not mapping["a"]
        text, frozen = "x" * 100, Frozen(3)
        assert await grain.text(text) is text
        assert await grain.frozen(frozen) == frozen
        assert await grain.reference_to(grain) is grain


async def test_defaults_and_names_work_in_remote_calls() -> None:
    """Positional, named, keyword-only and omitted arguments mean the same in remote and local calls."""
    ident = uuid4()
    async with TestCluster([Echo]) as cluster:
        for grain in callers(cluster, Echo, "a"):
            assert await grain.many(1) == (1, "red", "None")
            assert await grain.many(number=2, ident=ident) == (2, "red", str(ident))
            with pytest.raises(TypeError, match="missing a required argument"):
                await grain.many()
            with pytest.raises(TypeError, match="unexpected keyword"):
                await grain.many(1, nothing=2)


async def test_values_of_a_wrong_type_are_refused_by_name() -> None:
    """A wrong argument never reaches the method. A wrong result is reported as executed."""
    async with TestCluster([Echo]) as cluster:
        for grain in callers(cluster, Echo, "a"):
            with pytest.raises(InvalidCall, match="argument 'value'"):
                await grain.text(5)
            with pytest.raises(InvalidCall, match="Expected `Point`, got `object`"):
                await grain.points([object()])
            with pytest.raises(InvalidResult, match="was executed"):
                await grain.lies()


async def test_payloads_over_the_limit_are_refused_both_ways() -> None:
    """A request over the limit is not executed. A call with a result over the limit was executed. The silo stays up."""
    async with TestCluster([Echo]) as cluster:
        grain = cluster.get_grain(Echo, "a")
        with pytest.raises(PayloadTooLarge) as caught:
            await grain.take(b"x" * (5 * 1024 * 1024))
        assert caught.value.size > caught.value.limit > 0
        with pytest.raises(InvalidResult, match="the limit is"):
            await grain.big(5 * 1024 * 1024)
        assert await grain.take(b"x" * 1024) == 1024


class Hidden(Grain):
    async def seen(self) -> int:
        return 1

    async def _private(self) -> int:
        return 2

    def plain(self) -> int:
        return 3


async def test_names_that_cannot_be_called_raise_with_the_reason() -> None:
    """Private names, plain functions, hooks and unknown names raise AttributeError with a hint."""
    async with TestCluster([Hidden]) as cluster:
        grain = cluster.get_grain(Hidden, "a")
        hints = {
            "_private": "underscore",
            "plain": "not an async def",
            "on_activate": "hook",
            "nothing": "it has: seen",
        }
        for name, hint in hints.items():
            with pytest.raises(AttributeError, match=hint):
                getattr(grain, name)
        with pytest.raises(NoSuchMethod, match="it has: seen"):
            await cluster.client.call_json(grain.id, "_private", b"[]")


async def test_cancelling_a_caller_drops_its_waiting_request() -> None:
    """A waiting request is dropped; a running one completes."""
    async with TestCluster([Sleeper]) as cluster:
        for number, grain in enumerate(callers(cluster, Sleeper, "a")):
            first = asyncio.create_task(grain.short(1))
            await cluster.advance(0.1)
            second = asyncio.create_task(grain.short(0))
            await cluster.advance(0.1)
            first.cancel()
            second.cancel()
            await asyncio.gather(first, second, return_exceptions=True)
            await cluster.advance(5)
            assert await grain.completed() == number + 1


async def test_passing_the_grain_itself_is_refused() -> None:
    """`self` cannot be an argument; `self.reference` can."""

    class Selfish(Grain, name="selfish"):
        async def give(self) -> None:
            await self.get_grain(Echo, "e").reference_to(self)  # type: ignore[arg-type]

    async with TestCluster([Echo, Selfish]) as cluster:
        with pytest.raises(RemoteError, match=r"pass self\.reference"):
            await cluster.get_grain(Selfish, "s").give()
