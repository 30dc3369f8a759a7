"""Cuts of the network affect only the named places, heal at once, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from tests.processes.faults.network import NAMESPACES, PREFIX, Namespaces, missing, network, sweep

PATIENCE = 0.5
"""Seconds within which a datagram arrives."""


@pytest.fixture
async def net() -> AsyncIterator[Namespaces]:
    reason = missing()
    if reason:
        pytest.skip(f"NOT PLAYED, no network namespaces: {reason}")
    async with network(("a", "b", "c")) as made:
        assert isinstance(made, Namespaces)
        yield made


async def hears(net: Namespaces, sender: str, receiver: str) -> bool:
    """Whether a datagram from one arrives at the other."""
    loop = asyncio.get_running_loop()
    with net.socket(receiver, socket.SOCK_DGRAM) as receiving, net.socket(sender, socket.SOCK_DGRAM) as sending:
        receiving.bind((net.host(receiver), 0))
        for each in (receiving, sending):
            each.setblocking(False)
        try:
            sending.sendto(b"?", receiving.getsockname())
        except OSError:  # its own link is down
            return False
        try:
            async with asyncio.timeout(PATIENCE):
                return await loop.sock_recv(receiving, 10) == b"?"
        except TimeoutError:
            return False


async def test_one_direction_of_one_pair_is_lost_in_silence(net: Namespaces) -> None:
    assert await hears(net, "a", "b")
    await net.block("a", "b")
    assert not await hears(net, "a", "b")
    assert await hears(net, "b", "a")
    assert await hears(net, "a", "c")
    assert await hears(net, "a", "redis")
    await net.unblock("a", "b")
    assert await hears(net, "a", "b")


async def test_one_silo_is_cut_off_from_all_places(net: Namespaces) -> None:
    await net.unplug("b")
    assert not await hears(net, "a", "b")
    assert not await hears(net, "b", "hub")
    assert await hears(net, "a", "c")
    await net.heal()
    async with asyncio.timeout(10):
        while not await hears(net, "a", "b"):  # both resolve the other's hardware address once a second
            pass


async def test_namespaces_of_a_killed_test_are_swept_and_those_of_others_stay(net: Namespaces) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, foreign, mine = f"{PREFIX}{ended.pid}-0000-a", "foreign-0000-a", f"{PREFIX}{os.getpid()}-0000-a"
    for name in (left, foreign, mine):
        subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        sweep()
        assert not (NAMESPACES / left).exists()
        assert (NAMESPACES / foreign).exists()
        assert (NAMESPACES / mine).exists()
    finally:
        for name in (foreign, mine):
            subprocess.run(["ip", "netns", "del", name], check=True)
