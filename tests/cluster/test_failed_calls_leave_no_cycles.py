"""An error is freed with its last use: thousands of failed calls leave no work to the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from grange import CallTimeout, ConnectionLost, Grain, RemoteError, response_timeout, with_batch_size
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

    async def stream(self, ends: str) -> AsyncIterator[int]:
        yield 1
        if ends in ("fail", "ahead"):
            await self.fail()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            boom = Boom("in the clean-up")
            raised.append(weakref.ref(boom))
            try:
                raise boom from None
            finally:
                del boom

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


@pytest.mark.parametrize("ends", ["fail", "ahead", "cancel"])
@pytest.mark.parametrize("near", [True, False])
async def test_an_error_of_a_stream_is_freed(near: bool, ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that its caller does not take, and that of a clean-up."""
    monkeypatch.setattr(logging.getLogger("grange.runtime"), "disabled", True)  # pytest keeps what it logs
    async with TestCluster(grains=[Failing], silos=1) as cluster:
        grain = (cluster.silos[0] if near else cluster).get_grain(Failing, "a")
        for closes in (True, False):
            items: Any = with_batch_size(grain.stream(ends), 2 if ends == "ahead" else 1)
            assert await anext(items) == 1
            with suppress(Exception):
                async with asyncio.timeout(1):
                    await (items.aclose() if closes or ends == "ahead" else anext(items))
            del items
            await asyncio.sleep(1)
        assert len(raised) == (2 if ends == "ahead" else 1)
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
