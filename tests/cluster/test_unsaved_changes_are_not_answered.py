"""When an error of a grain's own state leaves a turn, the activation ends: nothing is answered from its memory."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from grange import (
    Grain,
    InconsistentStateError,
    PersistentState,
    StorageError,
    StorageUnavailable,
    WriteOutcomeUnknown,
    always_interleave,
)
from grange.grains.deactivation import DeactivationReason
from grange.storage.memory import MemoryStorage
from grange.storage.sets import ChangeSet, Committed
from grange.testing import TestCluster

NUMBERS = itertools.count(1)


class Flaky(MemoryStorage):
    """A store whose writes or reads fail while `broken` or `unreadable`; `held` delays the next writes."""

    broken: type[Exception] | None = None
    unreadable = False
    held: asyncio.Event | None = None

    async def commit(self, changes: ChangeSet) -> Committed:
        if self.held is not None:
            await self.held.wait()
        if self.broken is not None:
            raise self.broken("down")
        return await super().commit(changes)

    async def claim(self, *args: Any, **options: Any) -> Any:
        if self.unreadable:
            raise StorageUnavailable("down")
        return await super().claim(*args, **options)

    async def read(self, *args: Any, **options: Any) -> Any:
        if self.unreadable:
            raise StorageUnavailable("down")
        return await super().read(*args, **options)


class Device(Grain):
    """Takes numbers; `report` is the idempotent shape: what is known is acknowledged."""

    def __init__(self, seen: PersistentState[list[int]]) -> None:
        self.seen = seen
        self.number = next(NUMBERS)
        self.gate = asyncio.Event()

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        await self.seen.write()

    async def report(self, number: int) -> int:
        if number not in self.seen.value:
            self.seen.value.append(number)
            await self.seen.write()
        return number

    async def report_wrapped(self, number: int, how: str) -> None:
        try:
            await self.report(number)
        except StorageError as error:
            if how == "cause":
                raise ValueError("not stored") from error
            if how == "context":
                raise ValueError("not stored")  # noqa: B904
            raise ExceptionGroup("not stored", [ValueError("x"), error]) from None

    async def report_or_keep(self, number: int) -> bool:
        try:
            await self.report(number)
        except StorageError:
            return False
        return True

    async def report_or_reload(self, number: int) -> None:
        try:
            await self.report(number)
        except StorageError as error:
            await self.seen.read()
            raise ValueError("not stored") from error

    async def report_in_time(self, number: int, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            await self.report(number)

    async def reload(self) -> None:
        await self.seen.read()

    async def fail(self) -> None:
        raise ValueError("of its own")

    async def report_later(self, number: int) -> None:
        async def tick() -> None:
            await self.report(number)

        self.start_timer(tick, due=1)

    async def all(self) -> list[int]:
        return self.seen.value

    @always_interleave
    async def read_beside(self) -> list[int]:
        return self.seen.value

    @always_interleave
    async def all_after_gate(self) -> list[int]:
        await self.gate.wait()
        return self.seen.value

    @always_interleave
    async def report_after_gate(self, number: int) -> int:
        await self.gate.wait()
        return await self.report(number)

    async def born(self) -> int:
        return self.number


class Phone(Grain):
    """Calls a device, and keeps a state of its own."""

    def __init__(self, calls: PersistentState[list[int]]) -> None:
        self.calls = calls
        self.number = next(NUMBERS)

    async def report(self, key: str, number: int) -> None:
        await self.get_grain(Device, key).report(number)

    async def born(self) -> int:
        return self.number


def cluster_of(store: Flaky, silos: int = 1) -> TestCluster:
    return TestCluster(grains=[Device, Phone], silos=silos, storage=store)


@pytest.mark.parametrize(
    "broken", [StorageUnavailable, StorageError, WriteOutcomeUnknown, InconsistentStateError, OSError]
)
async def test_a_failed_write_is_not_acknowledged_by_the_next_call(broken: type[Exception]) -> None:
    store = Flaky()
    async with cluster_of(store) as cluster:
        device = cluster.get_grain(Device, "d")
        await device.report(1)
        store.broken = broken
        for _ in range(2):
            with pytest.raises(broken):
                await device.report(2)
        store.broken = None
        assert await device.all() == [1]
        assert await device.report(2) == 2
        assert await device.all() == [1, 2]


@pytest.mark.parametrize("how", ["cause", "context", "group"])
async def test_an_error_that_wraps_the_failure_ends_the_activation_too(how: str) -> None:
    store = Flaky()
    async with cluster_of(store) as cluster:
        device = cluster.get_grain(Device, "d")
        store.broken = StorageUnavailable
        with pytest.raises((ValueError, Exception), match="not stored"):
            await device.report_wrapped(2, how)
        store.broken = None
        assert await device.all() == []


async def test_an_activation_that_handles_the_error_stays() -> None:
    """Its changes are its own to repeat; a later error of another kind does not end it either."""
    store = Flaky()
    async with cluster_of(store) as cluster:
        device = cluster.get_grain(Device, "d")
        born = await device.born()
        store.broken = StorageUnavailable
        assert not await device.report_or_keep(2)
        with pytest.raises(ValueError, match="of its own"):
            await device.fail()
        assert await device.all() == [2]
        assert await device.born() == born


async def test_an_activation_that_loads_its_state_again_stays() -> None:
    store = Flaky()
    async with cluster_of(store) as cluster:
        device = cluster.get_grain(Device, "d")
        born = await device.born()
        store.broken = StorageUnavailable
        with pytest.raises(ValueError, match="not stored"):
            await device.report_or_reload(2)
        assert await device.all() == []
        assert await device.born() == born


async def test_a_failed_read_ends_the_activation() -> None:
    """The grain wanted to drop its changes, and could not."""
    store = Flaky()
    async with cluster_of(store) as cluster:
        device = cluster.get_grain(Device, "d")
        store.broken = StorageUnavailable
        assert not await device.report_or_keep(2)
        store.unreadable = True
        with pytest.raises(StorageUnavailable):
            await device.reload()
        store.unreadable = False
        await cluster.advance(10)  # until the circuit breaker tries the store again
        assert await device.all() == []


@pytest.mark.parametrize("broken", [None, StorageUnavailable])
async def test_a_turn_that_gave_up_waiting_for_its_write_leaves_no_memory(broken: type[Exception] | None) -> None:
    """Whether the write succeeds or fails later, the next call reads what is stored."""
    store = Flaky()
    async with cluster_of(store) as cluster:
        device = cluster.get_grain(Device, "d")
        born = await device.born()
        store.held, store.broken = asyncio.Event(), broken
        with pytest.raises(TimeoutError):
            await device.report_in_time(2, 0.5)
        store.held.set()
        await cluster.advance(1)
        store.held, store.broken = None, None
        assert await device.all() == ([2] if broken is None else [])
        assert await device.born() != born


async def test_a_timer_that_cannot_store_ends_the_activation() -> None:
    store = Flaky()
    async with cluster_of(store) as cluster:
        device = cluster.get_grain(Device, "d")
        await device.report_later(2)
        store.broken = StorageUnavailable
        await cluster.advance(2)
        store.broken = None
        assert await device.all() == []


async def test_a_turn_that_ran_meanwhile_is_not_answered_from_the_lost_changes() -> None:
    store = Flaky()
    async with cluster_of(store) as cluster:
        device = cluster.get_grain(Device, "d")
        await device.born()
        reading = asyncio.ensure_future(device.all_after_gate())
        writing = asyncio.ensure_future(device.report_after_gate(3))
        await cluster.advance(0.1)  # both turns wait at the gate
        activation = cluster.activation(device)
        assert activation is not None
        assert activation.built is not None
        store.broken = StorageUnavailable
        with pytest.raises(StorageUnavailable):
            await device.report(2)
        store.broken = None
        activation.built.grain.gate.set()  # type: ignore[attr-defined]
        with pytest.raises(StorageError, match="could not be stored"):
            await reading
        with pytest.raises(StorageError, match="given up"):
            await writing
        assert await device.all() == []


async def test_no_turn_starts_in_an_activation_that_was_given_up() -> None:
    """Not even one that could run beside its last turn. It waits for the next activation."""
    store = Flaky()
    async with cluster_of(store) as cluster:
        device = cluster.get_grain(Device, "d")
        await device.born()
        reading = asyncio.ensure_future(device.all_after_gate())
        await cluster.advance(0.1)
        activation = cluster.activation(device)
        assert activation is not None
        assert activation.built is not None
        store.broken = StorageUnavailable
        with pytest.raises(StorageUnavailable):
            await device.report(2)
        late = asyncio.ensure_future(device.read_beside())
        await cluster.advance(2)
        assert not late.done()
        store.broken = None
        activation.built.grain.gate.set()  # type: ignore[attr-defined]
        with pytest.raises(StorageError, match="could not be stored"):
            await reading
        assert await late == []


@pytest.mark.parametrize("silos", [1, 2])
@pytest.mark.parametrize("broken", [InconsistentStateError, StorageUnavailable])
async def test_an_error_that_passes_through_a_caller_ends_only_the_owner(silos: int, broken: type[Exception]) -> None:
    store = Flaky()
    async with cluster_of(store, silos) as cluster:
        phone = cluster.get_grain(Phone, "p")
        phone_born = await phone.born()
        near_and_far = [cluster.get_grain(Device, f"d{i}") for i in range(8)]
        born = [await device.born() for device in near_and_far]
        assert len({cluster.where(device) for device in near_and_far}) == silos
        store.broken = broken
        for device in near_and_far:
            with pytest.raises(broken):
                await phone.report(str(device.key), 2)
        store.broken = None
        assert await phone.born() == phone_born
        assert not {await device.born() for device in near_and_far} & set(born)
