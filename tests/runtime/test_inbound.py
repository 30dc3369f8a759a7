"""Messages of foreign peers: every request gets one answer, and none keeps resources of the silo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import msgspec
import pytest

from grange import Grain, InvalidResult, one_way, request_context
from grange.observability.trace import LENGTH
from grange.proto.acts import Level
from grange.proto.faults import Fault, Faults
from grange.proto.handshake import Hello, Role, Welcome, answer
from grange.proto.ids import GrainId
from grange.proto.message import Cancel, Encoding, Message, Reason, Rejection, Request, Response
from grange.runtime.calls.wire_call import WireCall
from grange.runtime.options import RuntimeOptions
from grange.runtime.system_target import SystemTargets, system_id
from grange.security.certificate import Certificate
from grange.transport.memory import MemoryTransport
from grange.transport.memory_network import MemoryNetwork
from grange.transport.provider import Connection
from tests.runtime.process import HERE, Process, settle


class Cart(Grain):
    def __init__(self) -> None:
        self.runs: list[str] = []
        self.gate = asyncio.Event()

    async def add(self, sku: str, number: int = 1) -> list[str]:
        self.runs.append(sku)
        return self.runs

    async def hold(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def big(self, size: int) -> bytes:
        return b"x" * size

    async def fail(self) -> None:
        raise ValueError(2**70)

    async def context(self) -> dict[str, int]:
        return {key: value for key, value in request_context.items() if isinstance(value, int)}

    @one_way
    async def hit(self, sku: str) -> None:
        self.runs.append(sku)
        if sku == "bad":
            raise LookupError("a one-way call failed")


class Stranger:
    """One connection to the process; the test sends each message."""

    def __init__(self, process: Process, transport: MemoryTransport) -> None:
        self.process = process
        self.transport = transport
        self.answers: dict[int, Message] = {}
        self.again: list[Message] = []
        self.came = asyncio.Event()
        self.connection: Connection | None = None
        self.numbers = iter(range(1, 1_000_000))

    def send(self, method: str, *args: Any, grain: str = "cart", key: str = "a", **fields: Any) -> int:
        """Send a request. Returns its id."""
        assert self.connection is not None
        number = next(self.numbers)
        fields.setdefault("timeout_ms", 5000)
        given = fields.pop("payload", None)
        payload = msgspec.msgpack.encode(args) if given is None else given
        self.connection.post(Request(number, GrainId(grain, key), method, payload, **fields))
        return number

    async def ask(self, method: str, *args: Any, **fields: Any) -> Any:
        """The answer to one request."""
        return await self.answer(self.send(method, *args, **fields))

    async def answer(self, number: int) -> Any:
        async with asyncio.timeout(1000):
            while number not in self.answers:
                self.came.clear()
                await self.came.wait()
        return self.answers[number]

    def receive(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message.id in self.answers:
                self.again.append(message)  # an error raised here would only be logged
            self.answers[message.id] = message
            self.came.set()

    def lost(self, unsent: object, error: Exception | None) -> None:
        """Ignore the end: some tests break the connection."""


Open = Callable[..., Any]


@pytest.fixture
async def stranger(process: Callable[..., Process]) -> AsyncIterator[Open]:
    """Open a connection to a process with carts. After the test, check that no request is in progress."""
    network, opened = MemoryNetwork(), []

    async def open_(role: Role = Role.CLIENT, **options: Any) -> Stranger:
        here = process(Cart, options=RuntimeOptions(**options))
        there = MemoryTransport(network)

        def admit(hello: Hello, _: Certificate | None) -> Welcome:
            return answer(hello, "test", HERE)

        listener = await there.listen("127.0.0.1", 0, admit, here.inbound.accept)
        made = Stranger(here, MemoryTransport(network))
        hello = Hello("test", role, "stranger")
        made.connection = await made.transport.connect("127.0.0.1", listener.port, hello, made)
        opened.extend([made.transport, there])
        processes.append(here)
        strangers.append(made)
        return made

    processes: list[Process] = []
    strangers: list[Stranger] = []
    yield open_
    await settle()
    assert [each.again for each in strangers] == [[]] * len(strangers), "one request, one answer"
    assert [each.inbound.in_progress for each in processes] == [0] * len(processes)
    for transport in opened:
        await transport.close()


def value(response: Any) -> Any:
    assert isinstance(response, Response), response
    assert not response.failed
    return msgspec.msgpack.decode(response.payload)


def error(response: Any) -> Exception:
    assert isinstance(response, Response), response
    assert response.failed
    return Faults().load(msgspec.msgpack.decode(response.payload, type=Fault))


async def test_a_request_is_run_and_answered(stranger: Open) -> None:
    there = await stranger()
    assert value(await there.ask("add", "apple")) == ["apple"]
    assert value(await there.ask("add", "pear", 2)) == ["apple", "pear"]


async def test_json_is_answered_in_json(stranger: Open) -> None:
    there = await stranger()
    response = await there.ask("add", payload=b'{"sku": "apple"}', encoding=Encoding.JSON)
    assert response.payload == b'["apple"]'


@pytest.mark.parametrize(
    ("method", "fields", "reason", "says"),
    [
        ("nothing", {}, Reason.NO_SUCH_METHOD, "no method 'nothing'"),
        ("_grange", {}, Reason.NO_SUCH_METHOD, "no method"),
        ("__init__", {}, Reason.NO_SUCH_METHOD, "no method"),
        ("on_activate", {}, Reason.NO_SUCH_METHOD, "no method"),
        ("add", {"grain": "missing"}, Reason.NO_SUCH_GRAIN, "'missing'"),
        ("add", {"key": ""}, Reason.INVALID_CALL, "empty or blank"),
        ("add", {"payload": b""}, Reason.INVALID_CALL, "truncated"),
        ("add", {"payload": b"\xc1"}, Reason.INVALID_CALL, "cart.add"),
        ("add", {"payload": b"\x91\x07"}, Reason.INVALID_CALL, "argument 'sku'"),
        ("add", {"payload": b"\xdd\xff\xff\xff\xff"}, Reason.INVALID_CALL, "truncated"),
        ("add", {"payload": b"\x91" * 100_000}, Reason.INVALID_CALL, "cart.add"),
        ("add", {"context": b"\xc1"}, Reason.INVALID_CALL, "request context is malformed"),
        ("add", {"context": msgspec.msgpack.encode([1])}, Reason.INVALID_CALL, "request context is malformed"),
        ("add", {"context": msgspec.msgpack.encode({"a": [1]})}, Reason.INVALID_CALL, "not a scalar"),
        ("add", {"context": msgspec.msgpack.encode({1: 1})}, Reason.INVALID_CALL, "malformed"),
        ("add", {"context": b"\x81\xa1a" + b"\x91" * 50_000}, Reason.INVALID_CALL, "malformed"),
    ],
)
async def test_what_is_wrong_is_refused_and_the_connection_lives_on(
    stranger: Open, method: str, fields: dict[str, Any], reason: Reason, says: str
) -> None:
    there = await stranger()
    refused = await there.ask(method, **fields)
    assert isinstance(refused, Rejection)
    assert refused.reason is reason
    assert says in refused.message
    assert value(await there.ask("add", "apple")) == ["apple"]


async def test_a_refusal_that_is_too_long_for_the_line_stays_a_refusal(stranger: Open) -> None:
    """It quotes the request, and must not become "was executed" when the quote is long."""
    there = await stranger()
    refused = await there.ask("\0" * 14_000)
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.NO_SUCH_METHOD


@pytest.mark.parametrize(
    "text",
    ["garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 3_000_000, "\x1b[31m", "00-\N{SNOWMAN}", "\n" * 55],
)
async def test_a_text_that_is_no_traceparent_is_dropped_and_the_request_runs(stranger: Open, text: str) -> None:
    there = await stranger()
    assert value(await there.ask("add", "apple", traceparent=text)) == ["apple"]
    number = there.send("hold", 1, traceparent=text)
    await settle()
    (incoming,) = there.process.inbound.connected
    assert len(incoming._calls[number].request.traceparent) in (0, LENGTH)
    assert value(await there.answer(number)) is None


@pytest.mark.parametrize("chain", [b"\x01", bytes(7), bytes(9), bytes(257), bytes(264), bytes(3_000_000)])
async def test_bytes_that_are_no_chain_are_dropped_and_the_request_runs(stranger: Open, chain: bytes) -> None:
    assert await _kept(await stranger(role=Role.SILO), chain) == b""


@pytest.mark.parametrize("chain", [bytes(8), b"\x01" * 256])
async def test_a_chain_of_a_silo_is_kept(stranger: Open, chain: bytes) -> None:
    assert await _kept(await stranger(role=Role.SILO), chain) == chain


async def test_a_chain_of_a_client_is_dropped(stranger: Open) -> None:
    """No client passes as a call that a turn waits for."""
    assert await _kept(await stranger(), bytes(8)) == b""


async def test_a_principal_of_a_client_is_refused(stranger: Open) -> None:
    """S3: it is not dropped in silence, and the call did not run. The request context cannot set it either."""
    there = await stranger(role=Role.CLIENT)
    assert value(await there.ask("add", "first")) == ["first"]  # from now on, requests start in their frame
    for principal in (b"\x94\xa4root\x90\xa0\xa0", b"x", b"\x00" * 5000):
        answer = await there.ask("add", "second", principal=principal)
        assert isinstance(answer, Rejection)
        assert answer.reason is Reason.UNAUTHORIZED
    assert value(await there.ask("add", "third")) == ["first", "third"]
    number = there.send("hold", 1, context=msgspec.msgpack.encode({"$principal": "root", "$acting": "root"}))
    assert (await _running(there, number)).request.principal == b""


async def test_a_forged_request_with_the_id_of_another_ends_its_connection(stranger: Open) -> None:
    """Its refusal would be taken for the answer of the other."""
    there = await stranger(role=Role.CLIENT)
    number = there.send("hold", 1)
    await settle()
    assert there.connection is not None
    there.connection.post(
        Request(number, GrainId("cart", "a"), "hold", b"\x91\x01", principal=b"\x94\xa4root\x90\xa0\xa0")
    )
    await settle()
    assert there.connection.closed
    assert number not in there.answers


async def test_a_principal_of_a_silo_is_kept(stranger: Open) -> None:
    there = await stranger(role=Role.SILO)
    number = there.send("hold", 1, principal=b"\x94\xa3ann\x90\xa0\xa0")
    assert (await _running(there, number)).principal == b"\x94\xa3ann\x90\xa0\xa0"


async def _kept(there: Stranger, chain: bytes) -> bytes:
    """The chain of a request that runs, as the silo keeps it."""
    return (await _running(there, there.send("hold", 1, chain=chain))).request.chain


async def _running(there: Stranger, number: int) -> WireCall:
    """This request, as the silo runs it."""
    await settle()
    (incoming,) = there.process.inbound.connected
    call = incoming.request(number)
    assert call is not None
    assert value(await there.answer(number)) is None
    return call


async def test_the_context_is_the_methods(stranger: Open) -> None:
    there = await stranger()
    assert value(await there.ask("context", context=msgspec.msgpack.encode({"a": 1, "b": "x"}))) == {"a": 1}
    assert value(await there.ask("context")) == {}


async def test_an_error_that_is_hard_to_write_is_answered_all_the_same(stranger: Open) -> None:
    there = await stranger()
    assert isinstance(error(await there.ask("fail")), ValueError)


async def test_a_result_over_the_limit_was_executed(stranger: Open) -> None:
    there = await stranger(payload_limit=1000)
    raised = error(await there.ask("big", 2000))
    assert isinstance(raised, InvalidResult)
    assert "the limit is 1000" in str(raised)
    assert len(value(await there.ask("big", 900))) == 900


async def test_a_request_whose_time_is_over_is_not_started(stranger: Open) -> None:
    there = await stranger()
    holding = there.send("hold", 3)
    late, endless = there.send("add", "late", timeout_ms=1000), there.send("add", "endless", timeout_ms=0)
    assert value(await there.answer(holding)) is None
    assert (await there.answer(late)).reason is Reason.EXPIRED
    assert value(await there.answer(endless)) == ["endless"]


async def test_a_request_cancelled_in_time_is_not_started(stranger: Open) -> None:
    there = await stranger()
    holding, waiting = there.send("hold", 3), there.send("add", "called back")
    await settle()
    there.connection.post(Cancel(waiting))
    there.connection.post(Cancel(4711))
    assert value(await there.answer(holding)) is None
    assert (await there.answer(waiting)).reason is Reason.CANCELLED
    assert value(await there.ask("add", "apple")) == ["apple"]


async def test_a_turn_that_runs_is_not_ended_by_a_cancel(stranger: Open) -> None:
    there = await stranger()
    holding = there.send("hold", 3)
    await settle()
    there.connection.post(Cancel(holding))
    assert value(await there.answer(holding)) is None


async def test_a_lost_connection_drops_its_waiting_requests(stranger: Open) -> None:
    """No caller would read the answers. A turn that runs completes."""
    there = await stranger()
    there.send("hold", 3)
    for _ in range(5):
        there.send("add", "unread")
    await settle()
    assert there.process.inbound.in_progress == 6
    there.connection.kill()
    await settle()
    assert there.process.inbound.in_progress == 0
    await asyncio.sleep(10)
    assert await there.process.grains.get_grain(Cart, "a").add("mine") == ["mine"]


async def test_a_silo_takes_requests_up_to_its_admission_limit(stranger: Open) -> None:
    """Above the limit it refuses at once with `retry_after`; later it takes requests again."""
    there = await stranger(admission_limit=3)
    numbers = [there.send("hold", 1, key=str(key)) for key in range(5)]
    outcomes = [await there.answer(number) for number in numbers]
    assert [type(outcome) for outcome in outcomes] == [Response] * 3 + [Rejection] * 2
    assert outcomes[3].reason is Reason.OVERLOADED
    assert outcomes[3].retry_after_ms == 500
    assert value(await there.ask("add", "apple")) == ["apple"]


async def test_a_one_way_request_is_answered_when_its_turn_begins(
    stranger: Open, caplog: pytest.LogCaptureFixture
) -> None:
    there = await stranger()
    holding, hit = there.send("hold", 3), there.send("hit", "bad", one_way=True, timeout_ms=0)
    await settle()
    assert hit not in there.answers
    await there.answer(holding)
    assert (await there.answer(hit)) == Response(hit)
    await settle()
    assert "one-way call cart/a.hit failed" in caplog.text
    assert value(await there.ask("add", "apple")) == ["bad", "apple"]


async def test_a_one_way_request_that_cannot_run_is_refused(stranger: Open) -> None:
    there = await stranger()
    assert (await there.ask("nothing", one_way=True)).reason is Reason.NO_SUCH_METHOD


async def test_two_requests_of_one_number_end_the_connection(stranger: Open) -> None:
    """Their answers could not be told apart. No request of the connection stays in progress."""
    there = await stranger()
    first = there.send("hold", 3)
    await settle()
    there.connection.post(Request(first, GrainId("cart", "b"), "hold", msgspec.msgpack.encode([1.0])))
    await settle()
    assert there.connection.closed
    assert there.process.inbound.in_progress == 0


async def test_system_targets_answer_beside_each_other(stranger: Open) -> None:
    there = await stranger()
    gate = asyncio.Event()

    async def slow(question: bytes) -> bytes:
        await gate.wait()
        return question

    async def fast(question: bytes) -> bytes:
        gate.set()
        return question.upper()

    there.process.targets.serve("slow", slow)
    there.process.targets.serve("fast", fast)
    waiting = there.send("ask", grain="grange.system", key="slow", payload=b"a")
    response = await there.ask("ask", grain="grange.system", key="fast", payload=b"b")
    assert response.payload == b"B"
    assert (await there.answer(waiting)).payload == b"a"


async def test_a_service_that_fails_sends_its_error_to_the_asker(
    stranger: Open, caplog: pytest.LogCaptureFixture
) -> None:
    there = await stranger()

    async def fail(question: bytes) -> bytes:
        raise LookupError("the service failed")

    there.process.targets.serve("broken", fail)
    raised = error(await there.ask("ask", grain="grange.system", key="broken", payload=b""))
    assert isinstance(raised, LookupError)
    assert "system target broken failed" in caplog.text


async def test_a_question_that_cannot_be_read_is_one_line_in_the_log(
    stranger: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """S6: peers must not fill the log with tracebacks."""
    there = await stranger()

    async def read(question: bytes) -> bytes:
        return msgspec.msgpack.encode(msgspec.msgpack.decode(question, type=int))

    there.process.targets.serve("reader", read)
    assert isinstance(error(await there.ask("ask", grain="grange.system", key="reader", payload=b"\xa1a")), Exception)
    assert "system target reader failed: it cannot read a question" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_service_that_is_not_here_is_refused(stranger: Open) -> None:
    there = await stranger()
    refused = await there.ask("ask", grain="grange.system", key="missing", payload=b"")
    assert refused.reason is Reason.NO_SUCH_GRAIN
    assert "'missing'" in refused.message


def test_a_service_is_offered_once() -> None:
    async def echo(question: bytes) -> bytes:
        return question

    targets = SystemTargets(lambda _: Level.ADMIN)
    targets.serve("echo", echo)
    with pytest.raises(ValueError, match="'echo' is served already"):
        targets.serve("echo", echo)
    assert system_id("echo") == GrainId("grange.system", "echo")


async def test_a_cancelled_request_that_waits_gives_back_its_place_at_once(stranger: Open) -> None:
    """It is answered, and counts no longer, while the turn before it still runs."""
    there = await stranger(mailbox_limit=2)
    there.send("hold", 3)
    await settle()
    first, second = there.send("add", "first"), there.send("add", "second")
    assert (await there.ask("add", "third")).reason is Reason.OVERLOADED
    there.connection.post(Cancel(first))
    assert (await there.answer(first)).reason is Reason.CANCELLED
    assert there.process.inbound.in_progress == 2
    third = there.send("add", "third")
    assert value(await there.answer(second)) == ["second"]
    assert value(await there.answer(third)) == ["second", "third"]
