"""The breaker of a store: when it opens, when it closes, and how it probes."""

from __future__ import annotations

import asyncio
import random

import pytest

from grange.aio.tasks import Tasks
from grange.errors import StorageUnavailable
from grange.observability.events import Events
from grange.storage.guards.breaker import Breaker
from grange.testing.loop import VirtualTime


async def test_a_probe_with_an_unexpected_error_does_not_leave_the_breaker_open_for_ever() -> None:
    """Drivers and third parties' providers have bugs, in failovers above all. Operations are refused only until the
    store answers."""
    answers: list[Exception | None] = [StorageUnavailable("away"), RuntimeError("a bug"), KeyError("another"), None]

    async def probe() -> None:
        answer = answers.pop(0) if answers else None
        if answer is not None:
            raise answer

    tasks, recovered = Tasks(), list[str]()
    with VirtualTime(asyncio.get_running_loop()).installed():
        breaker = Breaker("default", probe, lambda: recovered.append("back"), random.Random(1), tasks, Events())
        breaker.on_failure(StorageUnavailable("away"))
        await asyncio.sleep(0.1)
        with pytest.raises(StorageUnavailable, match="not tried"):
            await breaker.check("a write")
        await asyncio.sleep(10)
        await breaker.check("a write")
        assert recovered == ["back"]
        await tasks.close()


async def test_one_probe_runs_at_a_time_for_any_number_of_failures() -> None:
    """A store that comes back must not get a probe for each failure."""
    probes = 0

    async def probe() -> None:
        nonlocal probes
        probes += 1
        await asyncio.sleep(0.5)
        raise StorageUnavailable("away")

    tasks = Tasks()
    with VirtualTime(asyncio.get_running_loop()).installed():
        breaker = Breaker("default", probe, lambda: None, random.Random(1), tasks, Events())
        for _ in range(100):
            breaker.on_failure(StorageUnavailable("away"))
        await asyncio.sleep(0.1)
        assert probes == 1
        await asyncio.sleep(10)
        breaker.on_failure(StorageUnavailable("away"))
        assert probes < 20
        await tasks.close()


async def test_a_caller_that_repeats_at_once_does_not_block_the_probe() -> None:
    """Otherwise a grain that repeats a refused write without a pause blocks its silo's loop, and no probe ends that."""

    async def probe() -> None:
        raise StorageUnavailable("away")

    tasks, others = Tasks(), list[str]()
    with VirtualTime(asyncio.get_running_loop()).installed():
        breaker = Breaker("default", probe, lambda: None, random.Random(1), tasks, Events())
        breaker.on_failure(StorageUnavailable("away"))
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_soon(others.append, "had a turn")
        with pytest.raises(StorageUnavailable, match="not tried"):
            await breaker.check("a write")
        assert others == ["had a turn"]
        await tasks.close()


async def test_a_probe_with_a_defect_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """A provider that raises what it should not must not end the probes: operations would stay refused for ever."""
    errors: list[Exception] = [StorageUnavailable("away"), KeyError("a defect"), KeyError("a defect")]

    async def probe() -> None:
        if errors:
            raise errors.pop(0)

    tasks, recovered = Tasks(), list[str]()
    with VirtualTime(asyncio.get_running_loop()).installed():
        breaker = Breaker("default", probe, lambda: recovered.append("back"), random.Random(1), tasks, Events())
        breaker.on_failure(StorageUnavailable("away"))
        await asyncio.sleep(10)
        assert recovered == ["back"]
        await tasks.close()
    failed = [record for record in caplog.records if record.event == "storage_probe_failed"]  # type: ignore[attr-defined]
    assert [record.getMessage() for record in failed] == ["the probe of storage 'default' failed: KeyError"] * 2
    assert all(record.exc_info for record in failed)
