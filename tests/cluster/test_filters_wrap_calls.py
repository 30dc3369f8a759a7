"""Filters run around calls and timers, in order, and what they change is checked as any value (FLT)."""

from __future__ import annotations

import asyncio
import operator
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, cast

import pytest

from grange import (
    Call,
    CallTimeout,
    ConfigurationError,
    Filter,
    Grain,
    GrainInterface,
    InvalidResult,
    PersistentState,
    Proceed,
    StorageError,
    one_way,
    request_context,
    response_timeout,
)
from grange.client.client import Client
from grange.grains.filters import as_filters
from grange.silo.silo import Silo
from grange.storage.memory import MemoryStorage
from grange.storage.sets import ChangeSet, Committed
from grange.testing.cluster import TestCluster


class Text(Grain):
    """Answers texts, and notes what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.ticks = 0

    async def echo(self, text: str, times: int = 1) -> str:
        self.calls.append(text)
        return text * times

    async def length(self, text: str) -> int:
        return len(text)

    async def context(self) -> str:
        return f"{request_context.get('path', '')}4"

    async def fail(self, text: str) -> str:
        self.calls.append(text)
        raise ValueError(text)

    async def fail_twice(self) -> int:
        self.calls.append("fail_twice")
        if len(self.calls) < 3:
            raise OSError("not yet")
        return len(self.calls)

    @one_way
    async def note(self, text: str) -> None:
        self.calls.append(text)

    async def asked(self) -> list[str]:
        return self.calls

    async def tick(self) -> None:
        self.ticks += 1

    async def start(self) -> None:
        self.start_timer(self.tick, 1, 1)

    async def ticked(self) -> int:
        return self.ticks

    async def relay(self, to: Text, text: str) -> str:
        return await to.echo(text)

    @response_timeout(1)
    async def hurried(self) -> None: ...


class Guarded(Text, name="guarded"):
    """A grain that is its own filter."""

    async def on_call(self, call: Call, proceed: Proceed) -> Any:
        request_context["path"] = f"{request_context.get('path', '')}3"
        if call.method == "echo":
            return f"[{await proceed()}]"
        return await proceed()


def stamp(mark: str) -> Filter:
    async def stamping(call: Call, proceed: Proceed) -> Any:
        request_context["path"] = f"{request_context.get('path', '')}{mark}"
        return await proceed()

    return stamping


@pytest.mark.parametrize("near", [True, False])
async def test_filters_run_in_order_the_grains_own_last(near: bool) -> None:
    """FLT-01: those of the silo in registration order, then `on_call`, then the method, which sees what they set."""
    async with TestCluster([Guarded, Text], silos=1, incoming_filters=[stamp("1"), stamp("2")]) as cluster:
        grain = (cluster.silos[0] if near else cluster).get_grain(Guarded, "a")
        assert await grain.context() == "1234"
        assert await cluster.get_grain(Text, "a").context() == "124"
        assert "path" not in request_context


async def test_outgoing_filters_run_at_the_client_and_at_calling_grains() -> None:
    """FLT-02: the client's, then the callee's, then the calling grain's; each sees the answer on its way back."""

    async def upper(call: Call, proceed: Proceed) -> Any:
        if call.method == "relay":
            call.replace(text=call.arguments["text"].upper())
        return f"<{await proceed()}>"

    async def double(call: Call, proceed: Proceed) -> Any:
        if call.source is not None and call.source.key == "one":
            call.args = (call.args[0] * 2,)
        return await proceed()

    async def reverse(call: Call, proceed: Proceed) -> Any:
        if call.grain_id.key == "two":
            call.args = (call.args[0][::-1],)
        return await proceed()

    async with TestCluster([Text], incoming_filters=[reverse], outgoing_filters=[double]) as cluster:
        gateways = [silo.gateway for silo in cluster.silos]
        async with Client(gateways, transport=cluster.new_transport("other"), outgoing_filters=[upper]) as client:
            two = client.get_grain(Text, "two")
            assert await client.get_grain(Text, "one").relay(two, "ab") == "<BABA>"


@pytest.mark.parametrize("others", [(), (stamp("1"),)])
async def test_a_grain_is_its_own_filter(others: tuple[Filter, ...]) -> None:
    """FLT-04: it replaces results of one method and leaves the others alone, with and without filters of the silo."""
    seen: list[str] = []

    async def look(call: Call, proceed: Proceed) -> Any:
        seen.append(call.function.__qualname__)
        return await proceed()

    async with TestCluster([Guarded], silos=1, incoming_filters=[*others, look]) as cluster:
        grain = cluster.get_grain(Guarded, "a")
        assert await grain.echo("x", 2) == "[xx]"
        assert await grain.length("xyz") == 3
        assert seen == ["Text.echo", "Text.length"]


class Named(GrainInterface):
    async def read(self) -> str: ...


class Sized(GrainInterface):
    async def size(self) -> int: ...


class Both(Grain, Named, Sized):
    async def read(self) -> str:
        return "read"

    async def size(self) -> int:
        return 4


async def test_filters_see_the_method_of_the_implementation() -> None:
    """FLT-04, FLT-10: incoming, the function of the class; outgoing, that of the interface in `get_grain`."""
    seen: list[str] = []

    async def look(call: Call, proceed: Proceed) -> Any:
        seen.append(f"{call.direction} {call.grain_id.type} {call.function.__qualname__}")
        return await proceed()

    async with TestCluster([Both], silos=1, incoming_filters=[look], outgoing_filters=[look]) as cluster:
        assert await cluster.silos[0].get_grain(Named, "a").read() == "read"
        assert await cluster.get_grain(Sized, "a").size() == 4
    assert seen == ["outgoing both Named.read", "incoming both Both.read", "incoming both Both.size"]


async def test_a_filter_turns_an_error_into_a_result() -> None:
    """FLT-05."""

    async def calm(call: Call, proceed: Proceed) -> Any:
        try:
            return await proceed()
        except ValueError as error:
            return f"calmed {error}"

    async with TestCluster([Text], incoming_filters=[calm]) as cluster:
        assert await cluster.get_grain(Text, "a").fail("storm") == "calmed storm"


@pytest.mark.parametrize("near", [True, False])
async def test_the_error_of_a_filter_reaches_the_caller(near: bool) -> None:
    """FLT-06: with its type and message, of incoming and outgoing filters."""

    async def deny(call: Call, proceed: Proceed) -> Any:
        if call.method == "echo":
            raise PermissionError("not you")
        return await proceed()

    async with TestCluster([Text], silos=1, incoming_filters=[deny]) as cluster:
        grain = (cluster.silos[0] if near else cluster).get_grain(Text, "a")
        with pytest.raises(PermissionError) as raised:
            await grain.echo("x")
        assert raised.value.args == ("not you",)
        assert await grain.asked() == []
    async with TestCluster([Text], silos=1, outgoing_filters=[deny]) as cluster:
        with pytest.raises(PermissionError, match=r"^not you$"):
            await cluster.silos[0].get_grain(Text, "a").echo("x")


async def test_a_filter_proceeds_again() -> None:
    """A retry: the method runs three times in one turn, or three calls are made."""

    async def insist(call: Call, proceed: Proceed) -> Any:
        for _ in range(2):
            try:
                return await proceed()
            except OSError:
                await asyncio.sleep(1)
        return await proceed()

    async with TestCluster([Text], incoming_filters=[insist]) as cluster:
        assert await cluster.get_grain(Text, "a").fail_twice() == 3
    async with TestCluster([Text], outgoing_filters=[insist]) as cluster:
        assert await cluster.silos[0].get_grain(Text, "a").fail_twice() == 3


async def drop(call: Call, proceed: Proceed) -> Any:
    return None if call.method in ("echo", "note", "hurried") else await proceed()


async def forget_await(call: Call, proceed: Proceed) -> Any:
    if call.method in ("echo", "note", "hurried"):
        cast("Coroutine[Any, Any, Any]", proceed()).close()  # as `proceed()` alone, without its warning
        return None
    return await proceed()


async def skip(call: Call, proceed: Proceed) -> Any:
    if call.method in ("echo", "note", "hurried"):
        call.skip()
        return None
    return await proceed()


@pytest.mark.parametrize("forgetful", [drop, forget_await])
@pytest.mark.parametrize("direction", ["incoming_filters", "outgoing_filters"])
async def test_a_filter_that_neither_proceeds_nor_answers_is_an_error(direction: str, forgetful: Filter) -> None:
    """A forgotten `await proceed()` would lose calls in silence; `skip` says that it is meant."""
    filters: dict[str, Any] = {direction: [forgetful]}
    async with TestCluster([Text], silos=1, **filters) as cluster:
        for method in ("echo", "hurried"):
            grain: Any = cluster.silos[0].get_grain(Text, "a")
            with pytest.raises(
                RuntimeError,
                match=r"filter (drop|forget_await) of .* neither awaited proceed\(\) nor returned a result",
            ):
                await (grain.echo("x") if method == "echo" else grain.hurried())
        assert await cluster.get_grain(Text, "a").asked() == []
    filters[direction] = [skip]
    async with TestCluster([Text], silos=1, **filters) as cluster:
        assert await cluster.silos[0].get_grain(Text, "a").hurried() is None


@pytest.mark.parametrize("near", [True, False])
async def test_a_filter_answers_without_the_method(near: bool) -> None:
    """A short circuit, such as a cache."""

    async def cached(call: Call, proceed: Proceed) -> Any:
        return "cached" if call.method == "echo" else await proceed()

    async with TestCluster([Text], silos=1, incoming_filters=[cached]) as cluster:
        grain = (cluster.silos[0] if near else cluster).get_grain(Text, "a")
        assert await grain.echo("x") == "cached"
        assert await grain.asked() == []


def changing(args: tuple[Any, ...] | None = None, result: Any = None, **named: Any) -> Filter:
    async def change(call: Call, proceed: Proceed) -> Any:
        if call.method != "echo":
            return await proceed()
        if args is not None:
            call.args = args
        if named:
            call.replace(**named)
        answer = await proceed()
        return answer if result is None else result

    return change


@pytest.mark.parametrize("near", [True, False])
async def test_what_an_incoming_filter_changes_is_checked(near: bool) -> None:
    """Arguments and results of another type are refused as anywhere; a forgotten `await` is named."""

    async def forget(call: Call, proceed: Proceed) -> Any:
        return proceed()

    async def attempt(each: Filter) -> Any:
        async with TestCluster([Text], silos=1, incoming_filters=[each]) as cluster:
            return await (cluster.silos[0] if near else cluster).get_grain(Text, "a").echo("x")

    assert await attempt(changing(args=("y", 3))) == "yyy"
    assert await attempt(changing(times=2, text="z")) == "zz"
    assert await attempt(changing(result="other")) == "other"
    with pytest.raises(TypeError, match=r"set arguments that do not fit: .*'text'"):
        await attempt(changing(args=(1,)))
    with pytest.raises(TypeError, match="missing a required argument: 'text'"):
        await attempt(changing(args=()))
    with pytest.raises(TypeError, match="echo has no argument size; it has: text, times"):
        await attempt(changing(size=1))
    with pytest.raises(InvalidResult, match="Expected `str`, got `int`"):
        await attempt(changing(result=1))
    with pytest.raises(TypeError, match=r"must await: return await proceed\(\)"):
        await attempt(forget)


@pytest.mark.filterwarnings("error")
async def test_what_an_outgoing_filter_changes_is_checked() -> None:
    """Arguments are refused before they are sent; a result of another type is the fault of the filter."""

    async def attempt(each: Filter) -> Any:
        async with TestCluster([Text], silos=1, outgoing_filters=[each]) as cluster:
            return await cluster.silos[0].get_grain(Text, "a").echo("x")

    assert await attempt(changing(args=("y", 3))) == "yyy"
    assert await attempt(changing(result="other")) == "other"
    with pytest.raises(TypeError, match="Expected `str`, got `int`"):
        await attempt(changing(args=(1,)))
    with pytest.raises(TypeError, match=r"returned a result that does not fit: .*Expected `str`, got `int`"):
        await attempt(changing(result=1))


async def test_what_a_filter_cannot_change_is_refused() -> None:
    """An assignment that has no effect would be silent."""

    async def attempt(each: Callable[[Any], object]) -> Any:
        async def change(call: Call, proceed: Proceed) -> Any:
            each(call)
            return await proceed()

        async with TestCluster([Text], silos=1, incoming_filters=[change]) as cluster:
            return await cluster.get_grain(Text, "a").echo("x")

    with pytest.raises(TypeError, match="does not support item assignment"):
        await attempt(lambda call: operator.setitem(call.arguments, "text", "y"))
    for name in ("method", "grain_id"):
        with pytest.raises(AttributeError, match=f"'{name}'"):
            await attempt(lambda call, name=name: setattr(call, name, "length"))


async def test_filters_see_one_way_calls_and_timers() -> None:
    """A tick is a call without arguments, by the name of its callback; one that a filter drops is skipped."""
    seen: list[str] = []

    async def look(call: Call, proceed: Proceed) -> Any:
        seen.append(f"{call.method} {call.timer} {dict(call.arguments)}")
        if call.timer and len(seen) > 4:
            call.skip()
            return None
        return await proceed()

    async with TestCluster([Text], silos=1, incoming_filters=[look]) as cluster:
        grain = cluster.get_grain(Text, "a")
        await grain.note("hello")
        await grain.start()
        await cluster.advance(4.5)
        assert await grain.ticked() == 2
        assert seen[:4] == ["note False {'text': 'hello'}", "start False {}", "tick True {}", "tick True {}"]


async def test_the_context_that_an_outgoing_filter_sets_ends_with_its_call() -> None:
    """The request context flows down and never back up, also from a filter."""
    async with TestCluster([Text], silos=1, outgoing_filters=[stamp("1")]) as cluster:
        grain = cluster.silos[0].get_grain(Text, "a")
        request_context["path"] = "0"
        assert [await grain.context(), await grain.context()] == ["014", "014"]
        assert request_context["path"] == "0"


async def test_a_filter_cannot_run_the_method_after_its_turn() -> None:
    """`proceed` in a task of its own would run the grain's code beside another turn."""
    late: list[asyncio.Task[Any]] = []

    async def later(call: Call, proceed: Proceed) -> Any:
        async def run() -> Any:
            await asyncio.sleep(1)
            return await proceed()

        if call.method != "echo":
            return await proceed()
        late.append(asyncio.create_task(run()))
        return "soon"

    async with TestCluster([Text], silos=1, incoming_filters=[later]) as cluster:
        assert await cluster.get_grain(Text, "a").echo("x") == "soon"
        await cluster.advance(2)
        with pytest.raises(RuntimeError, match="has ended"):
            await late[0]
        assert await cluster.get_grain(Text, "a").asked() == []


@dataclass
class Total:
    items: list[int] = field(default_factory=list)


class Adds(Grain):
    def __init__(self, state: PersistentState[Total]) -> None:
        self.state = state

    async def add(self, item: int) -> int:
        self.state.value.items.append(item)
        await self.state.write()
        return len(self.state.value.items)

    async def read(self) -> list[int]:
        return self.state.value.items


class FailsOnce(MemoryStorage):
    """Refuses the first write."""

    writes = 0

    async def commit(self, changes: ChangeSet) -> Committed:
        self.writes += 1
        if self.writes == 1:
            raise StorageError("the disk is full")
        return await super().commit(changes)


async def test_a_filter_cannot_hide_that_nothing_was_stored() -> None:
    """A retry or a result in place of a StorageError would acknowledge what is only in memory."""

    async def insist(call: Call, proceed: Proceed) -> Any:
        try:
            return await proceed()
        except StorageError:
            return await proceed() if call.args[0] == 1 else 0

    async with TestCluster([Adds], silos=1, incoming_filters=[insist], storage=FailsOnce()) as cluster:
        with pytest.raises(StorageError):
            await cluster.get_grain(Adds, "retried").add(1)
        assert await cluster.get_grain(Adds, "retried").read() == []
    async with TestCluster([Adds], silos=1, incoming_filters=[insist], storage=FailsOnce()) as cluster:
        with pytest.raises(StorageError):
            await cluster.get_grain(Adds, "hidden").add(2)
        assert await cluster.get_grain(Adds, "hidden").read() == []
        assert await cluster.get_grain(Adds, "hidden").add(2) == 1


async def test_a_call_times_out_while_a_filter_waits() -> None:
    """The deadline of a call covers its incoming filters."""

    async def slow(call: Call, proceed: Proceed) -> Any:
        await asyncio.sleep(5)
        return await proceed()

    async with TestCluster([Text], incoming_filters=[slow]) as cluster:
        with pytest.raises(CallTimeout):
            await cluster.get_grain(Text, "a").hurried()


class Plain(Grain):
    async def one(self) -> int:
        return 1


async def pass_on(call: Call, proceed: Proceed) -> Any:
    return await proceed()


async def python_calls(grain: Plain) -> int:
    """The Python functions that a hundred calls enter."""
    for _ in range(50):
        await grain.one()
    counted: Counter[str] = Counter()

    def count(frame: FrameType, event: str, arg: object) -> None:
        counted[event] += event == "call"

    sys.setprofile(count)
    try:
        for _ in range(100):
            await grain.one()
    finally:
        sys.setprofile(None)
    return counted["call"]


@pytest.mark.parametrize("near", [True, False])
def test_an_absent_filter_costs_nothing(near: bool) -> None:
    """A class and a direction without filters run the same code as before, also beside others with filters."""

    async def run(other: type[Grain], filters: dict[str, Any]) -> int:
        async with TestCluster([Plain, other], silos=1, **filters) as cluster:
            return await python_calls((cluster.silos[0] if near else cluster).get_grain(Plain, "a"))

    def count(other: type[Grain], **filters: Any) -> int:
        return asyncio.run(run(other, filters))  # each in a loop of its own, so that they are alike

    without = count(Text)
    assert count(Guarded) == without  # another class of the silo has a filter
    if not near:
        assert count(Text, outgoing_filters=[pass_on]) == without
    assert count(Text, incoming_filters=[pass_on]) > without


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (pass_on, "incoming_filters= is a list of filters"),
        ("text", "incoming_filters= is a list of filters"),
        ([lambda call, proceed: None], "write async def"),
        ([Filter], "write async def"),
        ([type("F", (), {})], "write async def"),
        ([1], "write async def"),
    ],
)
def test_what_is_no_filter_is_refused(given: Any, says: str) -> None:
    """At the constructor of the silo, with the shape that a filter must have."""
    with pytest.raises(ConfigurationError, match=says):
        Silo([Plain], incoming_filters=given)


async def no_proceed(call: Call) -> Any: ...


def test_a_filter_must_take_two_arguments() -> None:
    """An object with an async `__call__` and a bound method are filters, too."""

    class Audits:
        async def __call__(self, call: Call, proceed: Proceed) -> Any: ...

        async def audit(self, call: Call, proceed: Proceed) -> Any: ...

    assert len(as_filters("outgoing_filters", [Audits(), Audits().audit])) == 2
    broken: list[Callable[..., Any]] = [no_proceed]
    with pytest.raises(ConfigurationError, match="is called as async def f"):
        as_filters("outgoing_filters", broken)
