"""Virtual time and a scripted cluster for the tests of the self-fence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from grange.proto.ids import SiloAddress
from grange.testing.loop import VirtualTime
from tests.membership.fence_world import Make, World


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
