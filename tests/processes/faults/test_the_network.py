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


async def connected(net: Namespaces, client: str, listener: socket.socket) -> socket.socket:
    """A new connection of this place to the listener. Raises ConnectionRefusedError, or TimeoutError after silence."""
    made = net.socket(client)
    made.setblocking(False)
    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_connect(made, listener.getsockname())
    except BaseException:
        made.close()
        raise
    return made


async def is_refused(net: Namespaces, client: str, listener: socket.socket) -> bool:
    """Whether a connection of this place to the listener is refused; False if it opens. Raises TimeoutError."""
    try:
        (await connected(net, client, listener)).close()
    except ConnectionRefusedError:
        return True
    return False


async def test_one_direction_of_one_pair_is_refused_at_once(net: Namespaces) -> None:
    with net.listener("a") as at_a, net.listener("b") as at_b, net.listener("c") as at_c:
        assert not await is_refused(net, "a", at_b)
        await net.reject("a", "b")
        assert await is_refused(net, "a", at_b)
        with pytest.raises(TimeoutError):  # its packets arrive, and the answers of a are refused
            await connected(net, "b", at_a)
        for client, listener in (("a", at_c), ("c", at_b), ("c", at_a), ("b", at_c)):
            assert not await is_refused(net, client, listener)
        assert await hears(net, "b", "a")
        assert not await hears(net, "a", "b")
        await net.accept("a", "b")
        assert not await is_refused(net, "a", at_b)
        assert not await is_refused(net, "b", at_a)


async def test_both_directions_of_several_pairs_are_refused_until_the_heal(net: Namespaces) -> None:
    with net.listener("a") as at_a, net.listener("b") as at_b, net.listener("c") as at_c:
        pairs = [("a", "b"), ("b", "a"), ("c", "b"), ("b", "c")]
        for pair in pairs:
            await net.reject(*pair)
        for client, listener in (("a", at_b), ("b", at_a), ("c", at_b), ("b", at_c)):
            assert await is_refused(net, client, listener)
        assert not await is_refused(net, "a", at_c)
        assert not await is_refused(net, "c", at_a)
        await net.heal()
        for client, listener in (("a", at_b), ("b", at_a), ("c", at_b), ("b", at_c)):
            assert not await is_refused(net, client, listener)


async def test_an_existing_connection_is_reset_when_the_refused_side_sends(net: Namespaces) -> None:
    loop = asyncio.get_running_loop()
    with net.listener("b") as at_b:
        sending = await connected(net, "a", at_b)
        receiving, _ = await loop.sock_accept(at_b)
        bystander = await connected(net, "c", at_b)
        served, _ = await loop.sock_accept(at_b)
        with sending, receiving, bystander, served:
            await loop.sock_sendall(sending, b"before")
            assert await loop.sock_recv(receiving, 10) == b"before"
            await net.reject("a", "b")
            await loop.sock_sendall(sending, b"after")
            with pytest.raises(ConnectionResetError):
                async with asyncio.timeout(PATIENCE):
                    await loop.sock_recv(sending, 10)
            with pytest.raises(TimeoutError):  # the other end is told nothing
                async with asyncio.timeout(PATIENCE):
                    await loop.sock_recv(receiving, 10)
            await loop.sock_sendall(bystander, b"still")
            assert await loop.sock_recv(served, 10) == b"still"


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
