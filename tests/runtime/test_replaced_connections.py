"""A silo asks for another connection: calls go on, the first connection ends when it is answered (S8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from grange.proto.message import Message, Request, Response, renewal
from tests.runtime.line import Line, Silo, request

ASKED = renewal("another certificate")


class Holding:
    """Keeps the requests for "slow" unanswered, and answers all others."""

    def __init__(self) -> None:
        self.held: list[tuple[Silo, Request]] = []

    def __call__(self, silo: Silo, message: Request) -> Message | None:
        if message.method == "slow":
            self.held.append((silo, message))
            return None
        return Response(message.id, b"\xc0")


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    made = Line()
    yield made
    await made.close()


def ask(line: Line, silo: Silo, method: str = "add") -> asyncio.Task[Response]:
    asked = request()
    asked.method = method
    return asyncio.create_task(line.sender.send(silo.address, asked, asyncio.get_running_loop().time() + 20))


async def replaced(line: Line, silo: Silo, first: object) -> None:
    async with asyncio.timeout(20):
        while line.peers.current(silo.address) is first:
            await asyncio.sleep(0)


async def test_a_connection_is_replaced_without_a_call_and_ends_when_it_is_answered(line: Line) -> None:
    holding = Holding()
    silo = await line.silo(holding)
    slow = ask(line, silo, "slow")
    await silo.came.wait()
    first, accepted = line.peers.current(silo.address), silo.connection
    assert first is not None
    assert accepted is not None
    accepted.post(ASKED)
    await replaced(line, silo, first)
    assert silo.connection is not accepted
    assert not first.closed
    await ask(line, silo)
    ((_, held),) = holding.held
    accepted.post(Response(held.id, b"\x01"))
    assert (await slow).payload == b"\x01"
    async with asyncio.timeout(20):
        while not first.closed:
            await asyncio.sleep(0)


async def test_calls_take_the_first_connection_until_the_second_is_there(line: Line) -> None:
    """A goodbye for a renewal is not that of a silo that leaves."""
    silo = await line.silo(lambda _, message: Response(message.id, b"\xc0"))
    await ask(line, silo)
    first, link = line.peers.current(silo.address), line.sender.link(silo.address)
    assert first is not None
    assert link is not None
    link.receive([ASKED])
    assert link.open
    assert line.peers.current(silo.address) is first
    link.receive([ASKED])  # a second one asks for nothing more
    await replaced(line, silo, first)
    assert not link.open
    assert line.peers.renewed == 1


async def test_a_call_on_the_first_connection_can_still_be_cancelled(line: Line) -> None:
    silo = await line.silo(Holding())
    slow = ask(line, silo, "slow")
    await silo.came.wait()
    first, accepted = line.peers.current(silo.address), silo.connection
    assert accepted is not None
    accepted.post(ASKED)
    await replaced(line, silo, first)
    slow.cancel()
    async with asyncio.timeout(20):
        while not silo.cancelled:
            await asyncio.sleep(0)
    assert silo.cancelled == [silo.requests[0].id]


async def test_calls_on_both_connections_fail_when_the_client_ends(line: Line) -> None:
    holding = Holding()
    silo = await line.silo(holding)
    slow = ask(line, silo, "slow")
    await silo.came.wait()
    first, accepted = line.peers.current(silo.address), silo.connection
    assert accepted is not None
    accepted.post(ASKED)
    await replaced(line, silo, first)
    line.sender.abandon("this client was closed")
    with pytest.raises(Exception, match="this client was closed"):
        await slow
