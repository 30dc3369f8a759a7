"""Memory that a peer controls: requests wait or are refused while the peer leaves its answers unread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import msgspec
import pytest

from grange import Grain
from grange.proto.handshake import Hello, Role, Welcome, answer
from grange.proto.ids import GrainId
from grange.proto.message import Cancel, Message, Reason, Rejection, Request, Response
from grange.runtime.calls import held_requests
from grange.runtime.calls.admission import LARGE, MIB, Admission, AnswerSizes, Share, Weighed
from grange.runtime.calls.inbound import STALL_LIMIT
from grange.runtime.options import RuntimeOptions
from grange.security.certificate import Certificate
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.options import TransportOptions
from tests.runtime.process import HERE, Process, settle

SIZE = 1_000_000
QUEUE = 4_000_000


class Big(Grain):
    runs: list[str]

    async def big(self) -> bytes:
        RUNS.append(str(self.key))
        return bytes(SIZE)

    async def slow(self) -> bytes:
        RUNS.append(str(self.key))
        await asyncio.sleep(1)
        return bytes(SIZE)

    async def meet(self, number: int) -> str:
        """Return when `number` callers have come."""
        RUNS.append(str(self.key))
        while len(RUNS) < number:
            await asyncio.sleep(0.01)
        return "met"

    async def count(self) -> int:
        RUNS.append(str(self.key))
        await asyncio.sleep(1)
        return len(RUNS)

    async def length(self, parts: list[Any]) -> int:
        await asyncio.sleep(1)
        return len(parts)


RUNS: list[str] = []


class Peer:
    """A client of the process. The line from the silo to it is cut while it does not read."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.transport = MemoryTransport(lab.network, name, lab.transport_options)
        self.answers: dict[int, Message] = {}
        self.again: list[Message] = []
        self.connection: Any = None
        self.sent = 0

    async def open(self) -> None:
        hello = Hello("test", Role.CLIENT, self.name)
        self.connection = await self.transport.connect("127.0.0.1", self.lab.port, hello, self)

    def ask(self, method: str, number: int = 1, *args: Any, payload: bytes | None = None, seconds: float = 30) -> None:
        """Send requests, each for a grain of its own."""
        for _ in range(number):
            self.sent += 1
            grain_id = GrainId("big", f"{self.name}-{self.sent}")
            data = payload if payload is not None else msgspec.msgpack.encode(args)
            self.connection.post(Request(self.sent, grain_id, method, data, timeout_ms=int(seconds * 1000)))

    def stop_reading(self) -> None:
        self.lab.network.partition("silo", self.name, one_way=True)

    def read_on(self) -> None:
        self.lab.network.heal("silo", self.name)

    def receive(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message.id in self.answers:
                self.again.append(message)  # an error raised here would only be logged
            self.answers[message.id] = message

    def lost(self, unsent: object, error: Exception | None) -> None:
        """The test looks at `connection.closed`."""

    def reasons(self) -> list[Reason]:
        return [each.reason for each in self.answers.values() if isinstance(each, Rejection)]


class Lab:
    """One process and its peers on a network where nothing breaks by itself."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.network = MemoryNetwork(break_after=1e6)
        self.transport_options = TransportOptions(queue_bytes=QUEUE)
        self.transport = MemoryTransport(self.network, "silo", self.transport_options)
        self.peers: list[Peer] = []
        self.port = 0

    async def peer(self) -> Peer:
        if not self.port:
            listener = await self.transport.listen("127.0.0.1", 0, self.admit, self.process.inbound.accept)
            self.port = listener.port
        made = Peer(self, f"peer{len(self.peers)}")
        self.peers.append(made)
        await made.open()
        return made

    def admit(self, hello: Hello, _: Certificate | None) -> Welcome:
        return answer(hello, "test", HERE)

    @property
    def waiting(self) -> int:
        """Bytes of answers that the silo holds."""
        return self.process.admission.answers

    async def close(self) -> None:
        self.network.heal()
        for each in (self.transport, *(peer.transport for peer in self.peers)):
            await each.close()


Open = Callable[..., Lab]


@pytest.fixture
async def lab(process: Callable[..., Process]) -> AsyncIterator[Open]:
    made: list[Lab] = []
    RUNS.clear()

    def make(**options: Any) -> Lab:
        made.append(Lab(process(Big, options=RuntimeOptions(**options))))
        return made[-1]

    yield make
    for each in made:
        await each.close()
        await asyncio.sleep(40)
        assert [peer.again for peer in each.peers] == [[]] * len(each.peers), "one request, one answer"
        counts = each.process.admission
        assert (counts.requests, counts.request_bytes, counts.arguments, counts.expected, counts.answers) == (0,) * 5


async def test_requests_wait_while_answers_are_unread(lab: Open) -> None:
    here = lab()
    peer = await here.peer()
    peer.stop_reading()
    peer.ask("big", 60)
    await asyncio.sleep(1)
    assert QUEUE <= here.waiting <= QUEUE + SIZE
    assert len(RUNS) == QUEUE // SIZE
    peer.read_on()
    await asyncio.sleep(1)
    assert [type(each) for each in peer.answers.values()] == [Response] * 60
    assert sorted(peer.answers) == list(range(1, 61))
    assert here.waiting == 0


async def test_a_peer_that_does_not_read_is_not_read(lab: Open) -> None:
    """Its own writes stall."""
    here = lab()
    peer = await here.peer()
    peer.stop_reading()
    peer.ask("big", 10)
    await asyncio.sleep(1)
    before = here.process.admission.requests
    peer.ask("big", 500)
    await asyncio.sleep(1)
    assert here.process.admission.requests == before
    assert peer.connection.unwritten > 0


async def test_waiting_requests_keep_their_deadlines_and_cancels(lab: Open) -> None:
    here = lab()
    peer = await here.peer()
    peer.ask("big")
    await settle()
    peer.stop_reading()
    peer.ask("big", 20, seconds=5)
    peer.ask("big", 1, seconds=100)
    peer.connection.post(Cancel(peer.sent))
    await asyncio.sleep(4)
    assert here.process.admission.requests > 10
    await asyncio.sleep(2)
    assert here.process.admission.requests <= 1, "those whose time is over take no memory"
    runs = len(RUNS)
    peer.read_on()
    await asyncio.sleep(1)
    assert peer.reasons().count(Reason.CANCELLED) == 1
    assert peer.reasons().count(Reason.EXPIRED) == 21 - runs
    assert len(RUNS) == runs < 10


async def test_a_request_that_waited_for_its_grain_waits_again_for_its_peer(lab: Open) -> None:
    """No turn starts while the answers before it are unread. Meanwhile nothing is expected of it."""
    here = lab()
    peer = await here.peer()
    peer.ask("slow")
    peer.sent += 1
    peer.connection.post(Request(peer.sent, GrainId("big", f"{peer.name}-1"), "slow", b"\x90", timeout_ms=30_000))
    await settle()
    peer.stop_reading()
    peer.ask("big", QUEUE // SIZE)
    await asyncio.sleep(2.5)
    assert RUNS.count(f"{peer.name}-1") == 1
    assert here.process.inbound.in_progress == 1
    assert here.process.admission.expected == 0
    peer.read_on()
    await asyncio.sleep(2)
    assert [type(each) for each in peer.answers.values()] == [Response] * (QUEUE // SIZE + 2)


async def test_a_number_that_waits_is_not_taken_by_another_request(lab: Open) -> None:
    """Its answer would be taken for the other's, so the connection ends, and no turn of the second starts."""
    here = lab()
    peer = await here.peer()
    peer.ask("count")
    await asyncio.sleep(1.1)
    peer.ask("slow", 12)
    await settle()
    assert len(RUNS) < 13, "the last of them waits"
    peer.connection.post(Request(peer.sent, GrainId("big", f"{peer.name}-1"), "count", b"\x90"))
    await settle()
    assert peer.connection.closed
    assert RUNS.count(f"{peer.name}-1") == 1


async def test_the_bytes_of_waiting_requests_count_only_while_they_wait(
    lab: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_requests, "HELD_BYTES", 100_000)
    here = lab()
    peer = await here.peer()
    for number in range(1, 4):
        peer.stop_reading()
        peer.ask("big", QUEUE // SIZE)
        peer.ask("length", 1, [bytes(60_000)])
        await asyncio.sleep(0.5)
        assert here.process.inbound.in_progress == 1
        peer.read_on()
        await asyncio.sleep(2)
        assert [type(each) for each in peer.answers.values()] == [Response] * (QUEUE // SIZE + 1) * number


async def test_turns_that_take_long_are_limited_by_the_answers_to_expect(lab: Open) -> None:
    """All 60 would end in one moment. The size of the first answer is unknown; others are expected to be as large."""
    here = lab()
    peer = await here.peer()
    peer.stop_reading()
    for _ in range(2):
        peer.ask("slow", 60)
        await asyncio.sleep(10)
    assert here.waiting <= 16 * SIZE
    assert len(RUNS) <= 16


async def test_methods_with_small_answers_wait_for_nothing(lab: Open) -> None:
    """Their type says so: all of them run at once."""
    here = lab()
    peer = await here.peer()
    peer.ask("count", 500)
    await asyncio.sleep(0.5)
    assert len(RUNS) == 500


async def test_turns_that_depend_on_waiting_requests_end(lab: Open) -> None:
    """The answer of this method may be large for all that the silo knows; so its requests start a few at a time."""
    here = lab()
    peer = await here.peer()
    peer.ask("meet", 100, 100)
    await asyncio.sleep(10)
    assert [type(each) for each in peer.answers.values()] == [Response] * 100


async def test_many_peers_that_do_not_read_share_the_limit_of_the_silo(lab: Open) -> None:
    here = lab(answer_bytes=10 * SIZE)
    peers = [await here.peer() for _ in range(10)]
    for peer in peers:
        peer.stop_reading()
        peer.ask("big", 50)
    await asyncio.sleep(1)
    assert here.waiting <= 21 * SIZE
    good = await here.peer()
    for _ in range(5):
        good.ask("count")
        await asyncio.sleep(1.1)
    assert [type(each) for each in good.answers.values()] == [Response] * 5
    here.process.inbound.end_stalled(asyncio.get_running_loop().time())
    assert not any(peer.connection.closed for peer in peers)
    await asyncio.sleep(STALL_LIMIT)
    here.process.inbound.end_stalled(asyncio.get_running_loop().time())
    await settle()
    assert any(peer.connection.closed for peer in peers)
    assert here.waiting < 10 * SIZE
    assert not good.connection.closed
    good.ask("big", 20)
    await asyncio.sleep(1)
    assert [type(each) for each in good.answers.values()] == [Response] * 25


async def test_one_connection_leaves_room_for_others(lab: Open) -> None:
    here = lab(connection_requests=10)
    greedy, other = await here.peer(), await here.peer()
    greedy.ask("count", 12)
    other.ask("count", 2)
    await asyncio.sleep(2)
    assert greedy.reasons() == [Reason.OVERLOADED] * 2
    assert other.reasons() == []


async def test_the_bytes_of_requests_count(lab: Open) -> None:
    here = lab(connection_bytes=100_000)
    peer = await here.peer()
    peer.ask("length", 12, [bytes(10_000)])
    await asyncio.sleep(2)
    assert peer.reasons() == [Reason.OVERLOADED] * 2


async def test_turns_of_a_lost_connection_still_count(lab: Open) -> None:
    """Otherwise a peer could start any number of turns by connecting again and again."""
    here = lab()
    peer = await here.peer()
    peer.ask("count", 7)
    await settle()
    peer.connection.kill()
    await settle()
    assert here.process.admission.requests == 7
    await asyncio.sleep(2)
    assert here.process.admission.requests == 0


async def test_arguments_that_grow_when_they_are_decoded_are_refused(lab: Open) -> None:
    """Four million empty lists are as long on the wire as four million bytes, and take 64 times as much memory."""
    here = lab()
    peer = await here.peer()
    count = 4_000_000
    peer.ask("length", payload=b"\x91\xdd" + count.to_bytes(4, "big") + b"\x90" * count)
    await asyncio.sleep(2)
    assert peer.reasons() == [Reason.PAYLOAD_TOO_LARGE]


async def test_large_arguments_of_one_connection_wait_for_each_other(lab: Open) -> None:
    """Lists of None take eight times as much memory as on the wire."""
    here = lab()
    peer = await here.peer()
    count = 3_000_000
    peer.ask("length", 3, payload=b"\x91\xdd" + count.to_bytes(4, "big") + b"\xc0" * count)
    peer.ask("count")
    most = 0
    for _ in range(40):
        most = max(most, here.process.admission.arguments)
        await asyncio.sleep(0.1)
    assert most <= 32 * 1024 * 1024
    assert [type(each) for each in peer.answers.values()] == [Response] * 4


# --- the counts, without a process -----------------------------------------------------------------------------------


class Leaving:
    """The connection of a silo that leaves: it refuses each request that is delivered, which lets others start."""

    full = False

    def __init__(self) -> None:
        self.share = self
        self.sizes = self
        self.connection = self
        self.held = held_requests.HeldRequests(self)  # type: ignore[arg-type]
        self.begun: list[int] = []

    def may_start(self, arguments: int, expected: int) -> bool:
        return arguments < LARGE

    def expected(self, request: Request) -> int:
        return 0

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def begin(self, weighed: Weighed) -> None:
        self.begun.append(weighed.request.id)
        self.held.release()


async def test_a_silo_that_leaves_delivers_each_held_request_once() -> None:
    """Also if the end of one, which is refused at once, lets the ones behind it start."""
    leaving = Leaving()
    for number, size in enumerate((LARGE, 10, 10)):
        leaving.held.add(Weighed(Request(number, GrainId("big", "a"), "big", b""), 1e9, 100, size, 0))
    leaving.held.deliver_all()
    assert leaving.begun == [0, 1, 2]
    assert not leaving.held.by_id


def test_a_method_with_large_answers_becomes_one_with_small_answers() -> None:
    """One large answer is not expected of it for ever."""
    sizes, asked = AnswerSizes(lambda _: False), Request(1, GrainId("big", "a"), "big", b"")
    assert sizes.expected(asked) == 2 * MIB
    sizes.saw(asked, 8 * MIB)
    assert sizes.expected(asked) == 8 * MIB
    seen = 0
    while sizes.expected(asked) and seen < 1000:
        sizes.saw(asked, 100)
        seen += 1
    assert 10 < seen < 100
    sizes.saw(asked, LARGE)
    assert sizes.expected(asked) == LARGE


def test_large_arguments_of_all_connections_wait_for_each_other() -> None:
    """A request that is alone always starts, or it would wait for ever."""
    silo = Admission(RuntimeOptions(admission_bytes=10 * MIB))
    one, two = Share(silo), Share(silo)
    assert one.may_start(20 * MIB, 0)
    one.start(6 * MIB, 0)
    assert two.may_start(4 * MIB, 0)
    assert not two.may_start(5 * MIB, 0)
    assert two.may_start(LARGE - 1, 0)
    one.end(6 * MIB, 0)
    assert two.may_start(5 * MIB, 0)
    assert (silo.arguments, silo.expected) == (0, 0)


def test_a_frame_may_begin_as_many_requests_as_one_by_one() -> None:
    """`room` is what `take` would count for certain, for the connection and for the silo."""
    for options in (
        {"connection_requests": 5}, {"admission_limit": 5}, {"connection_bytes": 5000}, {"admission_bytes": 5000}
    ):  # fmt: skip
        silo = Admission(RuntimeOptions(**options))  # type: ignore[arg-type]
        share = Share(silo)
        share.add(1, 1000)
        number, size = share.room()
        taken = 0
        while share.take(1000) is None:
            taken += 1
        assert taken == min(number, -(-size // 1000)) == 4
        assert min(share.room()) <= 0
