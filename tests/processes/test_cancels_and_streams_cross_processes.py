"""Cancellation and streamed results between real processes, over both roads (CAN, AEN)."""

from __future__ import annotations

import asyncio
import signal

import pytest

from grange import EnumerationAborted, with_batch_size
from grange.client import Client, ClientOptions
from tests.processes.counters import Stream
from tests.processes.silo_process import PATIENCE, SiloProcess, Silos


def client_of(silo: SiloProcess, road: str) -> Client:
    options = ClientOptions(road=road)  # type: ignore[arg-type]
    return Client([silo.gateway], response_timeout=300, options=options)


async def until(stream: Stream, wanted: str) -> list[str]:
    """Wait until the generator or method recorded an event."""
    async with asyncio.timeout(PATIENCE):
        while wanted not in (seen := await stream.seen()):
            await asyncio.sleep(0.01)
    return seen


@pytest.mark.parametrize("road", ["grpc", "tcp"])
async def test_cancels_and_streams_cross_processes(silos: Silos, road: str) -> None:
    """CAN-01, CAN-07, AEN-01, AEN-02, AEN-04, AEN-07: through a gateway to any silo, packed or not."""
    gateway, _ = await silos.run_two("--road", road)
    async with client_of(gateway, road) as client:
        for number in range(8):  # in both silos
            stream = client.get_grain(Stream, f"{number}")
            call = asyncio.create_task(stream.work())
            await until(stream, "began")
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await until(stream, "cancelled")
            call = asyncio.create_task(stream.insist())
            await until(stream, "insists")
            call.cancel()
            assert await call == "all the same"
            assert [item async for item in stream.numbers(250)] == list(range(250))
            assert [item async for item in with_batch_size(stream.numbers(3), 1)] == [0, 1, 2]
            with pytest.raises(ZeroDivisionError, match="at the end"):
                assert [item async for item in stream.failing()]
            async for item in stream.endless():
                if item == 3:
                    break
            await until(stream, "closed")


async def test_the_death_of_a_process_ends_its_streams_typed(silos: Silos) -> None:
    """AEN-16: the items so far, then EnumerationAborted."""
    silo = await silos.run()
    async with client_of(silo, "grpc") as client:
        items = client.get_grain(Stream, "s").endless()
        assert await anext(items) == 0
        silo.signal(signal.SIGKILL)
        found: list[int] = []

        async def take() -> None:
            async for item in items:
                found.append(item)

        with pytest.raises(EnumerationAborted):
            await take()
        assert found == list(range(1, len(found) + 1))


async def test_the_command_prints_items_as_lines(silos: Silos) -> None:
    """AEN-01: `grange call` of a streamed method; its error follows the items."""
    silo = await silos.run()
    command = await silos.command("call", "stream/s", "numbers", "250", "--gateway", silo.gateway)
    await command.ended()
    assert command.printed == [str(number) for number in range(250)]
    command = await silos.command("call", "stream/s", "failing", "--gateway", silo.gateway, "--json")
    await command.ended()
    assert command.printed == ["1"]
    assert '"ZeroDivisionError"' in command.errors
    assert '"executed"' in command.errors
