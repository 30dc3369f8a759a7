"""Faults of the memory network, as cluster tests use them."""

from __future__ import annotations

import asyncio

import pytest

from grange.errors import ConfigurationError, ConnectionLost, SiloUnavailable
from grange.proto.handshake import answer
from grange.proto.ids import SiloAddress
from grange.proto.message import Message
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.options import TransportOptions
from grange.transport.provider import Connection
from tests.transport.net import CLUSTER, Echo, Inbox, Net, request

QUICK = TransportOptions(connect_timeout=0.01, close_timeout=0.01)


class World:
    """A silo "s" that echoes, a client "c", and one connection between them."""

    def __init__(self, **network: object) -> None:
        self.network = MemoryNetwork(**network)  # type: ignore[arg-type]
        self.silo = MemoryTransport(self.network, "s", QUICK)
        self.client = MemoryTransport(self.network, "c", QUICK)
        self.address = SiloAddress("10.0.0.1", 11111, 1)
        self.inbox = Inbox()
        self.echoes: list[Echo] = []

    def accept(self, connection: Connection) -> Echo:
        self.echoes.append(Echo(connection))
        return self.echoes[-1]

    async def listen(self, port: int = 11111) -> None:
        await self.silo.listen("10.0.0.1", port, lambda hello, _: answer(hello, CLUSTER, self.address), self.accept)

    async def connect(self) -> Connection:
        return await self.client.connect("10.0.0.1", 11111, Net("memory").hello(), self.inbox)

    async def start(self) -> Connection:
        await self.listen()
        return await self.connect()


async def ticks(number: int = 5) -> None:
    """Run more loop iterations than a delivery over a good line needs."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_a_cut_line_holds_messages_until_it_heals() -> None:
    world = World()
    connection = await world.start()
    world.network.partition("c", "s")
    for number in range(3):
        connection.post(request(number))
    await ticks()
    assert world.echoes[0].messages == []
    assert not connection.closed
    world.network.heal("c", "s")
    assert [message.id for message in await world.inbox.count(3)] == [0, 1, 2]


async def test_a_one_way_cut_stops_only_the_answers() -> None:
    world = World()
    connection = await world.start()
    world.network.partition("s", "c", one_way=True)
    connection.post(request(1))
    await world.echoes[0].count(1)
    await ticks()
    assert world.inbox.messages == []
    world.network.heal()
    await world.inbox.count(1)


async def test_places_may_be_named_by_endpoint() -> None:
    world = World()
    connection = await world.start()
    world.network.partition("10.0.0.1:11111", "c")
    connection.post(request(1))
    await ticks()
    assert world.echoes[0].messages == []
    with pytest.raises(ConfigurationError, match=r"10\.0\.0\.9:1.*known.*10\.0\.0\.1:11111"):
        world.network.partition("10.0.0.9:1", "c")


async def test_connecting_over_a_cut_line_times_out() -> None:
    world = World()
    await world.listen()
    world.network.partition("c", "s")
    with pytest.raises(SiloUnavailable, match="no answer"):
        await world.connect()


async def test_a_line_that_stays_cut_loses_its_connections() -> None:
    world = World(break_after=0.01)
    connection = await world.start()
    world.network.partition("c", "s")
    connection.post(request(1))
    unsent, error = await world.inbox.ended()
    assert [message.id for message in unsent] == [1]
    assert isinstance(error, ConnectionLost)
    assert isinstance((await world.echoes[0].ended())[1], ConnectionLost)


async def test_closing_over_a_cut_line_reports_the_rest_as_unsent() -> None:
    world = World()
    connection = await world.start()
    world.network.partition("c", "s")
    connection.post(request(1))
    await connection.close()
    assert world.inbox.unsent == [1]


async def test_kill_breaks_everything_of_one_process_at_once() -> None:
    world = World()
    connection = await world.start()
    await world.listen(30000)
    connection.post(request(1))
    world.network.kill("10.0.0.1:11111")
    assert connection.closed
    assert world.inbox.unsent == [1]
    assert isinstance(world.inbox.endings[0][1], ConnectionLost)
    assert len(world.echoes[0].endings) == 1
    for port in (11111, 30000):
        with pytest.raises(SiloUnavailable, match="no process listens"):
            await world.client.connect("10.0.0.1", port, Net("memory").hello(), Inbox())
    with pytest.raises(SiloUnavailable, match="has left"):
        await world.silo.connect("10.0.0.1", 11111, Net("memory").hello(), Inbox())
    await world.silo.close()


async def test_a_killed_process_can_be_started_again_in_its_place() -> None:
    world = World()
    await world.start()
    world.network.kill("s")
    world.silo = MemoryTransport(world.network, "s", QUICK)
    world.address = SiloAddress("10.0.0.1", 11111, 2)
    await world.listen()
    assert (await world.connect()).welcome.address.generation == 2


async def test_two_processes_cannot_have_one_name() -> None:
    world = World()
    with pytest.raises(ConfigurationError, match="'s'"):
        MemoryTransport(world.network, "s")


async def test_with_latency_order_is_kept_and_close_waits_for_messages_in_flight() -> None:
    world = World(latency=0.2)  # longer than a busy machine delays the loop
    connection = await world.start()
    for number in range(600):  # several frames
        connection.post(request(number))
    await ticks()
    assert world.echoes[0].messages == []
    await world.inbox.count(600)
    world.network.latency = 0.0
    connection.post(request(600))
    await connection.close()
    assert [message.id for message in world.echoes[0].messages] == list(range(601))
    assert [message.id for message in world.inbox.messages] == list(range(601))


async def test_messages_in_flight_when_the_line_was_cut_arrive_first_when_it_heals() -> None:
    world = World(latency=0.2)
    connection = await world.start()
    connection.post(request(0))
    await ticks()  # now in flight
    world.network.partition("c", "s")
    connection.post(request(1))
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.3, later.set)  # the loop keeps timers in order: the arrival was due before
    await later.wait()
    assert world.echoes[0].messages == []
    world.network.heal()
    assert [message.id for message in await world.inbox.count(2)] == [0, 1]


async def test_a_fate_can_drop_duplicate_and_reorder() -> None:
    fates = {0: (), 1: (0.0, 0.0), 2: (0.002,), 3: (0.0,)}

    def fate(source: str, target: str, message: Message) -> tuple[float, ...]:
        return fates[message.id] if (source, target) == ("c", "s") else (0.0,)

    world = World(fate=fate)
    connection = await world.start()
    for number in range(4):
        connection.post(request(number))
    await world.inbox.count(4)
    assert [message.id for message in world.echoes[0].messages] == [1, 1, 3, 2]
    await connection.close()


async def test_the_accepting_side_reads_no_further_while_its_answers_are_not_taken() -> None:
    """The bound of answers: 10 queued answers stop the reading, and the requests wait on the other side."""
    options = TransportOptions(queue_messages=10, frame_messages=5, close_timeout=0.01)
    network = MemoryNetwork()
    silo, client = (MemoryTransport(network, name, options) for name in "sc")
    address = SiloAddress("10.0.0.1", 1, 1)
    echoes: list[Echo] = []

    def accept(connection: Connection) -> Echo:
        echoes.append(Echo(connection))
        return echoes[-1]

    await silo.listen("10.0.0.1", 1, lambda hello, _: answer(hello, CLUSTER, address), accept)
    inbox = Inbox()
    connection = await client.connect("10.0.0.1", 1, Net("memory").hello(), inbox)
    network.partition("s", "c", one_way=True)
    posted = 0

    async def caller() -> None:
        nonlocal posted
        while posted < 100:
            await connection.ready()
            posted += 1
            connection.post(request(posted))

    callers = asyncio.gather(*(caller() for _ in range(3)))
    await ticks(100)
    assert len(echoes[0].messages) == 10
    assert posted == 20
    network.heal()
    await callers
    assert len({message.id for message in await inbox.count(posted)}) == posted
