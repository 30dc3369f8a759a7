"""Where calls to observers are sent while their client is on its way from one silo to another."""

from __future__ import annotations

import asyncio

import pytest

from grange.directory.client_locator import CLIENT
from grange.errors import ObserverGone
from grange.proto.clients import CLIENT_TYPE, client_id, client_of
from grange.proto.ids import GrainId
from grange.runtime.observers.routes import ClientState
from tests.directory.cluster import Cluster
from tests.directory.virtual_time import run

OBSERVER = GrainId(CLIENT_TYPE, f"{client_id(bytes(16))}/1")


def test_a_client_that_connects_to_another_silo_is_found_there_soon() -> None:
    """The questions come close together at first: a client whose gateway died is connected again in no time."""

    async def main() -> None:
        async with Cluster() as cluster:
            host, other, _ = await cluster.start(3)
            loop = asyncio.get_running_loop()
            began = loop.time()
            locating = asyncio.create_task(host.locator.locate(OBSERVER))
            await asyncio.sleep(0.05)
            assert not locating.done()
            other.clients[client_of(OBSERVER)] = ClientState.HERE
            assert await locating == other.me
            assert loop.time() - began <= 0.1

    run(main())


def test_a_client_that_stays_away_is_asked_for_less_and_less_often() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            host, *others = await cluster.start(3)
            with pytest.raises(ObserverGone):
                await host.locator.locate(OBSERVER)
            asked = sum(service == CLIENT for *_, service in cluster.carried)
            assert 12 * len(others) < asked < 20 * len(others)

    run(main())
