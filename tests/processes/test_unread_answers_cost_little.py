"""Clients that ask for large answers and read nothing cost a silo little memory. Prints the growth: run it with -s."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import grpc.aio
import pytest

from grange.proto.codec import encode_frame, encode_greeting
from grange.proto.handshake import Hello, Role
from grange.proto.ids import GrainId
from grange.proto.message import Request
from tests.processes.silo_process import Silos

SIZE = 3_900_000
MEGABYTE = 1_000_000


def resident(pid: int) -> int:
    """The memory of a process, in bytes."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


async def ask_without_reading(parts: AsyncExitStack, gateway: str, number: int, requests: int) -> None:
    """Open a stream as client `number`, and send all requests in one frame."""
    channel = await parts.enter_async_context(
        grpc.aio.insecure_channel(gateway, options=[("grpc.use_local_subchannel_pool", 1)])
    )
    stream: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream("/grange.v1.Silo/Connect")()
    await stream.write(encode_greeting(Hello("default", Role.CLIENT, f"slow{number}")))
    await stream.read()
    await stream.write(
        encode_frame(
            Request(each + 1, GrainId("probe", f"{number}-{each}"), "make", b"\x91\xce" + SIZE.to_bytes(4, "big"))
            for each in range(requests)
        )
    )


@pytest.mark.parametrize(("clients", "requests", "limit"), [(1, 60, 80 * MEGABYTE), (10, 50, 250 * MEGABYTE)])
async def test_unread_answers_cost_little(silos: Silos, clients: int, requests: int, limit: int) -> None:
    silo = await silos.run()
    async with AsyncExitStack() as parts:
        before = most = resident(silo.pid)
        for number in range(clients):
            await ask_without_reading(parts, silo.gateway, number, requests)
        for _ in range(40):
            await asyncio.sleep(0.1)
            most = max(most, resident(silo.pid))
    print(f"{clients} x {requests} unread answers of {SIZE:,} bytes: the silo grew by {(most - before) >> 20} MiB")
    assert most - before < limit
    assert await silo.stop() == 0
