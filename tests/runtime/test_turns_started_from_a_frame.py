"""Requests whose turns start right from their frame keep every promise of those that are delivered and wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import msgspec
import pytest

from grange import Grain, one_way, read_only
from grange.grains.context import current_turn
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.proto.handshake import Hello, Role, Welcome, answer
from grange.proto.ids import GrainId
from grange.proto.message import Cancel, Message, Reason, Rejection, Request, Response
from grange.runtime.calls.admission import LARGE
from grange.runtime.options import RuntimeOptions
from grange.security.certificate import Certificate
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.provider import Connection
from tests.runtime.process import HERE, Process, settle


class Desk(Grain):
    """Records its calls."""

    async def note(self, word: str) -> int:
        NOTES.append(f"{self.key} {word}")
        return len(NOTES)

    async def slow(self, seconds: float, padding: str = "") -> int:
        NOTES.append(f"{self.key} slow")
        await asyncio.sleep(seconds)
        return len(NOTES)

    @read_only
    async def look(self) -> int:
        NOTES.append(f"{self.key} look")
        await asyncio.sleep(1)
        return len(NOTES)

    async def unknown_size(self) -> list[int]:
        await asyncio.sleep(1)
        return []

    async def where(self) -> bool:
        turn = current_turn.get()
        return turn is not None and turn.holder is self._grange and asyncio.current_task() not in TASKS  # type: ignore[attr-defined]

    async def stubborn(self) -> int:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("cancelled") from None
        return 0

    async def many(self, number: int) -> list[int]:
        return list(range(number))

    @one_way
    async def hint(self, word: str) -> None:
        NOTES.append(f"{self.key} {word}")
        await asyncio.sleep(1)


NOTES: list[str] = []
TASKS: set[Any] = set()


class Peer:
    """A client that sends whole frames. `answers` are in the order of their arrival."""

    def __init__(self, process: Process, connection: Connection, answers: dict[int, Message]) -> None:
        self.process = process
        self.connection = connection
        self.answers = answers
        self.sent = 0

    def request(self, method: str, *args: Any, key: str = "a", **fields: Any) -> Request:
        self.sent += 1
        fields.setdefault("timeout_ms", 5000)
        return Request(self.sent, GrainId("desk", key), method, msgspec.msgpack.encode(args), **fields)

    async def frame(self, *messages: Message) -> list[Any]:
        """Send the messages in one frame. Returns their answers so far, in the order of their requests."""
        for message in messages:
            self.connection.post(message)
        await settle()
        return [self.answers.get(message.id) for message in messages if isinstance(message, Request)]

    def reasons(self) -> list[Reason]:
        return [each.reason for each in self.answers.values() if isinstance(each, Rejection)]


class Inbox:
    """Keeps the answers, and those that came again; an error raised here would only be logged."""

    def __init__(self) -> None:
        self.answers: dict[int, Message] = {}
        self.again: list[Message] = []

    def receive(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message.id in self.answers:
                self.again.append(message)
            self.answers[message.id] = message

    def lost(self, unsent: object, error: Exception | None) -> None:
        """The test looks at the connection."""


Open = Callable[..., Any]


@pytest.fixture
async def peer(process: Callable[..., Process]) -> AsyncIterator[Open]:
    """Connect to a process whose desks a to f are active. After the test, check that no request is counted."""
    network, transports, processes = MemoryNetwork(), list[MemoryTransport](), list[Process]()
    inboxes = list[Inbox]()
    NOTES.clear()

    async def open_(**options: Any) -> Peer:
        here, inbox = process(Desk, options=RuntimeOptions(**options)), Inbox()
        processes.append(here)
        inboxes.append(inbox)

        def admit(hello: Hello, _: Certificate | None) -> Welcome:
            return answer(hello, "test", HERE)

        there, mine = MemoryTransport(network), MemoryTransport(network)
        transports.extend([mine, there])
        listener = await there.listen("127.0.0.1", 0, admit, here.inbound.accept)
        hello = Hello("test", Role.CLIENT, "peer")
        made = Peer(here, await mine.connect("127.0.0.1", listener.port, hello, inbox), inbox.answers)
        for key in "abcdef":
            await made.frame(made.request("note", "first", key=key))
        NOTES.clear()
        inbox.answers.clear()
        return made

    yield open_
    for transport in transports:
        await transport.close()
    await asyncio.sleep(40)
    assert [inbox.again for inbox in inboxes] == [[]] * len(inboxes), "one request, one answer"
    for each in processes:
        counts = each.admission
        assert (each.inbound.in_progress, counts.requests, counts.request_bytes, counts.expected) == (0, 0, 0, 0)


def value(response: Any) -> Any:
    assert isinstance(response, Response), response
    assert not response.failed
    return msgspec.msgpack.decode(response.payload)


async def test_the_requests_of_a_frame_run_in_order(peer: Open) -> None:
    there = await peer()
    frame = [there.request("note", str(number), key="abc"[number % 3]) for number in range(9)]
    assert [value(each) for each in await there.frame(*frame)] == list(range(1, 10))
    assert [f"{'abc'[number % 3]} {number}" for number in range(9)] == NOTES


async def test_a_turn_is_in_a_task_and_a_context_of_its_own(peer: Open) -> None:
    there = await peer()
    TASKS.update(asyncio.all_tasks())
    assert [value(each) for each in await there.frame(*[there.request("where") for _ in range(3)])] == [True] * 3
    assert current_turn.get() is None


async def test_no_turn_starts_after_its_deadline(peer: Open) -> None:
    """The process may have been suspended between the arrival of the frame and the turn."""
    there = await peer()
    gate, loop = there.process.deps.gate, asyncio.get_running_loop()
    gate.clock = lambda: loop.time() + 5
    (late, endless) = await there.frame(there.request("note", "late"), there.request("note", "endless", timeout_ms=0))
    assert late.reason is Reason.EXPIRED
    assert value(endless) == 1
    assert NOTES == ["a endless"]


async def test_a_closed_gate_holds_the_turn_and_a_fenced_one_refuses_it(peer: Open) -> None:
    there = await peer()
    gate = there.process.deps.gate
    gate.pause()
    assert await there.frame(there.request("note", "held"), there.request("note", "behind")) == [None, None]
    assert NOTES == []
    gate.open(1e9)
    await settle()
    assert NOTES == ["a held", "a behind"]
    gate.fence("the silo is alone")
    (refused,) = await there.frame(there.request("note", "fenced"))
    assert refused.reason is Reason.NOT_READY
    assert "the silo is alone" in refused.message


async def test_a_gate_that_expires_within_the_frame_holds_the_next_turn(peer: Open) -> None:
    there = await peer()
    gate = there.process.deps.gate
    readings = iter([1.0, 1.0])
    gate.clock = lambda: next(readings, 3.0)
    gate.extend(2.0)
    first, second = await there.frame(there.request("note", "in time"), there.request("note", "late", key="b"))
    assert value(first) == 1
    assert second is None
    assert NOTES == ["a in time"]
    gate.open(1e9)
    await settle()
    assert NOTES == ["a in time", "b late"]


async def test_one_turn_at_a_time(peer: Open) -> None:
    """Requests behind a running turn wait; read-only ones run beside each other."""
    there = await peer()
    slow, behind = await there.frame(there.request("slow", 1.0), there.request("note", "behind"))
    assert (slow, behind) == (None, None)
    assert NOTES == ["a slow"]
    await asyncio.sleep(1.1)
    assert NOTES == ["a slow", "a behind"]
    await there.frame(there.request("look"), there.request("look"), there.request("note", "alone"))
    assert NOTES[2:] == ["a look", "a look"]
    await asyncio.sleep(1.1)
    assert NOTES[4:] == ["a alone"]


async def test_a_request_is_found_by_its_number_while_its_turn_runs(peer: Open) -> None:
    """Its cancel changes nothing, one that waits behind it is cancelled, and its number is taken."""
    there = await peer()
    slow, behind = there.request("slow", 3.0), there.request("note", "behind")
    await there.frame(slow, behind, Cancel(slow.id), Cancel(behind.id))
    assert there.process.inbound.in_progress == 1
    assert there.reasons() == [Reason.CANCELLED]
    await asyncio.sleep(3.1)
    assert value(there.answers[slow.id]) == 1
    slow = there.request("slow", 3.0)
    await there.frame(slow, Request(slow.id, GrainId("desk", "b"), "note", msgspec.msgpack.encode(["twin"])))
    assert there.connection.closed
    assert NOTES == ["a slow", "a slow"]


async def test_a_one_way_request_is_answered_when_its_turn_begins(peer: Open) -> None:
    there = await peer()
    (begun,) = await there.frame(there.request("hint", "x", one_way=True))
    assert begun == Response(begun.id)
    assert there.process.admission.requests == 1  # its turn runs


async def test_a_turn_that_is_cancelled_at_the_end_of_its_silo_answers_once(peer: Open) -> None:
    """Its caller has been told that the outcome is unknown, so what the code raises then is no answer."""
    there = await peer()
    await there.frame(there.request("stubborn"))
    await there.process.catalog.cancel_turns()
    await settle()
    assert there.reasons() == [Reason.LOST]


async def test_the_limits_of_admission_hold_within_a_frame(peer: Open) -> None:
    there = await peer(admission_limit=4)
    await there.frame(*[there.request("slow", 1.0, key=key) for key in "abcdef"])
    assert there.reasons() == [Reason.OVERLOADED] * 2
    assert there.process.admission.requests == 4
    await asyncio.sleep(3)
    assert [type(each) for each in there.answers.values()] == [Rejection] * 2 + [Response] * 4
    there.answers.clear()
    await there.frame(*[there.request("note", "quick") for _ in range(20)])
    assert there.reasons() == []  # each turn ends before the next one starts


async def test_the_bytes_of_a_frame_count(peer: Open) -> None:
    there = await peer(connection_bytes=25_000)
    await there.frame(*[there.request("slow", 1.0, "x" * 10_000, key=key) for key in "abcde"])
    assert there.reasons() == [Reason.OVERLOADED] * 2


async def test_large_arguments_and_answers_are_weighed(peer: Open) -> None:
    """A request with large arguments, or whose answer may be large, counts them while its turn runs."""
    there = await peer()
    admission = there.process.admission
    await there.frame(there.request("slow", 1.0, "x" * LARGE))
    assert admission.arguments >= LARGE
    await there.frame(there.request("unknown_size", key="b"))
    assert admission.expected > 0


async def test_the_method_is_looked_up_and_the_arguments_are_checked(peer: Open) -> None:
    there = await peer()
    unknown, unfit, good = await there.frame(
        there.request("nothing"), there.request("note", 7), there.request("note", "good")
    )
    assert [unknown.reason, unfit.reason] == [Reason.NO_SUCH_METHOD, Reason.INVALID_CALL]
    assert value(good) == 1


async def test_an_activation_that_ends_or_has_ended_takes_no_turn(peer: Open) -> None:
    there = await peer()
    activation = there.process.activation(there.process.grains.get_grain(Desk, "a"))
    await there.frame(there.request("slow", 1.0))
    activation.deactivate(DeactivationReason(DeactivationCode.OPERATOR, "the test"))
    await there.frame(there.request("note", "late"))
    assert NOTES == ["a slow"]
    await asyncio.sleep(2)
    assert there.reasons() == [Reason.NOT_HERE]
    assert NOTES == ["a slow"]


async def test_a_turn_counts_as_use_of_its_activation(peer: Open) -> None:
    there = await peer()
    activation = there.process.activation(there.process.grains.get_grain(Desk, "a"))
    await asyncio.sleep(5)
    await there.frame(there.request("slow", 1.0))
    await asyncio.sleep(2)
    assert activation.last_used == pytest.approx(asyncio.get_running_loop().time() - 1, abs=0.1)
