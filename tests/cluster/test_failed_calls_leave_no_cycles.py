"""An error is freed with its last use: thousands of failed calls leave no work to the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from grange import CallTimeout, ConnectionLost, Grain, RemoteError, response_timeout
from grange.testing import TestCluster

raised: list[weakref.ref[Exception]] = []


class Boom(Exception):
    """Can be referred to weakly, unlike a builtin error."""


class Failing(Grain, name="failing"):
    async def fail(self) -> None:
        error = Boom("no")
        raised.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    @response_timeout(1)
    async def wait(self) -> None:
        await asyncio.sleep(60)

    async def wait_long(self) -> None:
        await asyncio.sleep(600)


class Near(Grain, name="near"):
    async def fail(self, key: str) -> None:
        try:
            await self.get_grain(Failing, key).fail()
        except (Boom, RemoteError) as error:
            raised.append(weakref.ref(error))


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    raised.clear()
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def freed() -> bool:
    await asyncio.sleep(1)
    return bool(raised) and all(each() is None for each in raised)


async def test_an_error_of_a_method_is_freed_on_both_sides() -> None:
    async with TestCluster(grains=[Failing], silos=1) as cluster:
        for _ in range(3):
            try:
                await cluster.get_grain(Failing, "a").fail()
            except (Boom, RemoteError) as error:
                raised.append(weakref.ref(error))
        assert await freed()


async def test_an_error_of_a_local_call_is_freed() -> None:
    async with TestCluster(grains=[Failing, Near], silos=1) as cluster:
        for _ in range(3):
            await cluster.get_grain(Near, "a").fail("b")
        assert await freed()


async def test_a_time_out_is_freed() -> None:
    async with TestCluster(grains=[Failing], silos=1) as cluster:
        for key in "abc":
            try:
                await cluster.get_grain(Failing, key).wait()
            except CallTimeout as error:
                raised.append(weakref.ref(error))
        assert await freed()


async def test_an_error_of_a_lost_connection_is_freed() -> None:
    async with TestCluster(grains=[Failing], silos=2) as cluster:

        async def call(key: str) -> None:
            try:
                await cluster.get_grain(Failing, key).wait_long()
            except ConnectionLost as error:
                raised.append(weakref.ref(error))

        calls = [asyncio.create_task(call(f"{number}")) for number in range(20)]
        await asyncio.sleep(1)
        await cluster.kill(cluster.silos[0])
        await cluster.advance(700)
        await asyncio.gather(*calls, return_exceptions=True)
        assert await freed()
