"""Virtual time for every test of the runtime, and processes that are closed after their test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from grange.grains.grain import Grain
from grange.testing.loop import VirtualTime
from tests.runtime.line import Line
from tests.runtime.process import Process


@pytest.fixture
async def time() -> AsyncIterator[VirtualTime]:
    """Make the test's event loop jump to its next timer instead of waiting."""
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        yield time


@pytest.fixture
async def process(time: VirtualTime) -> AsyncIterator[Callable[..., Process]]:
    """Make runtimes. After the test, check that none has left a running task."""
    made: list[Process] = []

    def make(*grains: type[Grain[Any]], **parts: Any) -> Process:
        made.append(Process(*grains, **parts))
        return made[-1]

    yield make
    for each in made:
        await each.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


@pytest.fixture
async def line(time: VirtualTime) -> AsyncIterator[Callable[..., Line]]:
    """Make lines. After the test, check that none has left a running task."""
    made: list[Line] = []

    def make(**parts: Any) -> Line:
        made.append(Line(**parts))
        return made[-1]

    yield make
    for each in made:
        await each.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left
