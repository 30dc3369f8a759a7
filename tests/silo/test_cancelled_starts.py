"""A start that is cancelled, once or more, at any step: it logs nothing and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from grange import Grain
from grange.client import Client
from grange.silo import Silo
from grange.testing.cluster import TestCluster

STEPS = [*range(30), 35, 40, 50, 70, 100]
"""Iterations of the event loop before the cancellation. A start on a real network takes as many as time allows."""

DELAYS = [0.002, 0.005, 0.01, 0.02, 0.04]
"""Seconds before the cancellation, for the waits for threads and sockets."""


PATIENCE = 30.0
"""Seconds; only a leak takes so long."""

LAST_SOCKETS = 4
"""gRPC closes the sockets of a connection in its own threads; those of the last ones may stay until the next."""


class Cart(Grain):
    async def f(self) -> int:
        return 1


async def steps(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def cancelled(
    start: Callable[[], Awaitable[Any]], end: Callable[[], Awaitable[Any]], before: Awaitable[None], times: int
) -> None:
    """Start, cancel, and end what was started in time."""
    starting = asyncio.ensure_future(start())
    await before
    for _ in range(times):
        starting.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([starting])
    if not starting.cancelled():
        await starting
        await end()


def moments() -> list[Awaitable[None]]:
    return [*(steps(number) for number in STEPS), *(asyncio.sleep(delay) for delay in DELAYS)]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def assert_quiet(caplog: pytest.LogCaptureFixture) -> None:
    gc.collect()
    found = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [text for text in found if "stood still for" not in text] == []  # a busy machine lets a silo wait


@pytest.mark.parametrize("times", [1, 3])
async def test_of_a_silo(times: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, moment in enumerate(moments()):
        silo = Silo(grains=[Cart], port=0, gateway_port=0, data=tmp_path / str(number))
        await cancelled(silo.start, silo.stop, moment, times)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    for thread in threading.enumerate():
        if thread.name == "grange waits":
            thread.join(PATIENCE)  # a wait that was cancelled ends with its thread
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("grange")]
    assert_quiet(caplog)


@pytest.mark.parametrize("times", [1, 3])
async def test_of_a_client(times: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Silo(grains=[Cart], port=0, gateway_port=0, data=tmp_path) as silo:
        async with Client([silo.gateway]) as client:
            assert await client.get_grain(Cart, "a").f() == 1
        before = open_files()
        for moment in moments():
            client = Client([silo.gateway])
            await cancelled(client.__aenter__, lambda client=client: client.__aexit__(None, None, None), moment, times)
        async with asyncio.timeout(PATIENCE):
            while open_files() > before + LAST_SOCKETS:
                gc.collect()
                await asyncio.sleep(0.05)
        async with Client([silo.gateway]) as client:
            assert await client.get_grain(Cart, "a").f() == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert_quiet(caplog)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("virtual", [True, False])
async def test_of_a_test_cluster(virtual: bool, times: int, caplog: pytest.LogCaptureFixture) -> None:
    for moment in moments():
        cluster = TestCluster([Cart], virtual_time=virtual)
        await cancelled(cluster.__aenter__, lambda cluster=cluster: cluster.__aexit__(None, None, None), moment, times)
    async with TestCluster([Cart]) as cluster:
        assert await cluster.get_grain(Cart, "a").f() == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert_quiet(caplog)
