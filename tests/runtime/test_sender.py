"""One request to one known silo: its outcome, however the connection behaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from grange import CallTimeout, ConnectionLost, GrangeError, SiloUnavailable
from grange.errors import HandshakeRefused
from grange.proto.faults import Faults
from grange.proto.ids import SiloAddress
from grange.proto.message import Reason, Rejection, Request, Response, Status
from grange.runtime.requests.refusal import Refused
from tests.runtime.line import Line, Silo, request
from tests.runtime.process import settle

Make = Callable[..., Line]
ELSEWHERE = SiloAddress("10.0.0.9", 1, 1)


def soon(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_answers_find_their_requests_in_any_order(line: Make) -> None:
    here = line()
    silo = await here.silo()
    sends = [asyncio.create_task(here.sender.send(silo.address, request(), soon(5))) for _ in range(3)]
    await settle()
    assert len({each.id for each in silo.requests}) == 3
    for each in reversed(silo.requests):
        silo.post(Response(each.id, str(each.id).encode()))
    responses = await asyncio.gather(*sends)
    assert [response.payload for response in responses] == [str(each.id).encode() for each in silo.requests]


async def test_a_rejection_becomes_a_refusal_with_all_its_facts(line: Make) -> None:
    here = line()
    fault = msgspec.msgpack.encode(Faults().dump(KeyError("no record")))
    silo = await here.silo(lambda _, r: Rejection(r.id, Reason.NOT_HERE, "moved", ELSEWHERE, 1500, fault))
    with pytest.raises(Refused) as caught:
        await here.sender.send(silo.address, request(), soon(5))
    refused = caught.value
    assert (refused.reason, refused.message, refused.hint) == (Reason.NOT_HERE, "moved", ELSEWHERE)
    assert refused.retry_after == 1.5
    assert isinstance(refused.cause, KeyError)


async def test_a_gateway_that_lost_the_silo_says_unknown(line: Make) -> None:
    here = line()
    silo = await here.silo(lambda _, r: Rejection(r.id, Reason.LOST, "silo x is gone"))
    with pytest.raises(ConnectionLost, match="silo x is gone"):
        await here.sender.send(silo.address, request(), soon(5))


async def test_what_never_left_was_not_executed_and_what_left_is_unknown(line: Make) -> None:
    """One broken connection gives two different outcomes."""
    here = line()
    silo = await here.silo()
    left = asyncio.create_task(here.sender.send(silo.address, request(), soon(5)))
    await silo.came.wait()
    queued = asyncio.create_task(here.sender.send(silo.address, request(), soon(5)))
    await asyncio.sleep(0)
    connection = here.peers.current(silo.address)
    assert connection is not None
    connection.kill(ConnectionError("cut"))
    with pytest.raises(ConnectionLost, match="after the request had left: cut"):
        await left
    with pytest.raises(SiloUnavailable, match="before the request left"):
        await queued
    assert len(silo.requests) == 1


async def test_the_next_request_gets_a_new_connection(line: Make) -> None:
    here = line()
    silo = await here.silo(lambda _, r: Response(r.id, b"x"))
    await here.sender.send(silo.address, request(), soon(5))
    connection = here.peers.current(silo.address)
    assert connection is not None
    connection.kill()
    assert (await here.sender.send(silo.address, request(), soon(5))).payload == b"x"


async def test_no_listener_means_not_executed(line: Make) -> None:
    here = line()
    with pytest.raises(SiloUnavailable, match="no process listens there"):
        await here.sender.send(ELSEWHERE, request(), soon(5))


async def test_waiting_for_a_connection_ends_with_the_callers_time(line: Make) -> None:
    here = line()
    silo = await here.silo()
    here.network.latency = 10
    before = soon(0)
    with pytest.raises(SiloUnavailable, match="took the request in time"):
        await here.sender.send(silo.address, request(), soon(3))
    assert soon(0) == before + 3
    assert silo.requests == []


async def test_a_caller_cancelled_while_it_waits_for_a_connection_sends_nothing(line: Make) -> None:
    """Other callers that wait for the same connection are not cancelled."""
    here = line()
    silo = await here.silo(lambda _, r: Response(r.id))
    here.network.latency = 0.1
    gone, stays = (asyncio.create_task(here.sender.send(silo.address, request(), soon(5))) for _ in range(2))
    await asyncio.sleep(0.05)
    gone.cancel()
    await stays
    assert gone.cancelled()
    assert len(silo.requests) == 1


async def test_a_time_out_names_the_last_status_and_cancels_the_request(line: Make) -> None:
    here = line()
    silo = await here.silo(lambda _, r: Status(r.id, "queued at 3"))
    before = soon(0)
    with pytest.raises(CallTimeout, match=r"call to cart/a\.add timed out: queued at 3"):
        await here.sender.send(silo.address, request(), soon(2))
    assert 2 <= soon(0) - before < 2.1
    await settle()
    assert silo.cancelled == [silo.requests[0].id]


async def test_a_status_is_kept_in_part_if_it_is_long(line: Make) -> None:
    """A client that answers no call could otherwise fill the memory of a silo with one status for each."""
    here = line()
    silo = await here.silo()
    send = asyncio.create_task(here.sender.send(silo.address, request(), soon(2)))
    await silo.came.wait()
    silo.post(Status(silo.requests[0].id, "long" * 100_000))
    with pytest.raises(CallTimeout, match="timed out: longlong") as raised:
        await send
    assert len(str(raised.value)) < 2000


async def test_without_a_status_message_the_status_is_unknown(line: Make) -> None:
    here = line()
    silo = await here.silo()
    with pytest.raises(CallTimeout, match="status unknown"):
        await here.sender.send(silo.address, request(), soon(2))


async def test_a_cancelled_caller_cancels_its_request(line: Make) -> None:
    here = line()
    silo = await here.silo()
    send = asyncio.create_task(here.sender.send(silo.address, request(), soon(5)))
    await silo.came.wait()
    send.cancel()
    await settle()
    assert send.cancelled()
    assert silo.cancelled == [silo.requests[0].id]


@pytest.mark.parametrize("late", [Response(1, b"late"), Rejection(1, Reason.EXPIRED), Status(1, "late")])
async def test_late_and_foreign_answers_are_ignored(line: Make, late: Response) -> None:
    """They cause no error and are never taken for the answer to another request."""
    here = line()
    silo = await here.silo()
    with pytest.raises(CallTimeout):
        await here.sender.send(silo.address, request(), soon(1))
    silo.post(late)
    silo.post(msgspec.structs.replace(late, id=4711))
    silo.script = lambda _, r: Response(r.id, b"right")
    assert (await here.sender.send(silo.address, request(), soon(1))).payload == b"right"


async def test_an_answer_that_comes_twice_counts_once(line: Make) -> None:
    def twice(silo: Silo, asked: Request) -> Response:
        silo.post(Response(asked.id, b"first"))
        return Response(asked.id, b"second")

    here = line()
    silo = await here.silo(twice)
    assert (await here.sender.send(silo.address, request(), soon(1))).payload == b"first"


async def test_a_full_queue_makes_callers_wait_within_their_time(line: Make) -> None:
    """Back-pressure: a request that gets no room in time was not executed, and memory does not grow."""
    here = line(queue_messages=2)
    silo = await here.silo()
    first = asyncio.create_task(here.sender.send(silo.address, request(), soon(60)))
    await silo.came.wait()
    here.network.partition("client", silo.transport.name)
    held = [asyncio.create_task(here.sender.send(silo.address, request(), soon(60))) for _ in range(2)]
    await settle()
    with pytest.raises(SiloUnavailable, match="took the request in time"):
        await here.sender.send(silo.address, request(), soon(3))
    waiting = asyncio.create_task(here.sender.send(silo.address, request(), soon(60)))
    await settle()
    here.network.heal()
    await settle()
    assert len(silo.requests) == 4
    for each in silo.requests:
        silo.post(Response(each.id))
    await asyncio.gather(first, waiting, *held)


async def test_a_connection_that_breaks_while_callers_wait_for_room(line: Make) -> None:
    here = line(queue_messages=1)
    silo = await here.silo()
    first = asyncio.create_task(here.sender.send(silo.address, request(), soon(60)))
    await silo.came.wait()
    here.network.partition("client", silo.transport.name)
    queued, waiting = (asyncio.create_task(here.sender.send(silo.address, request(), soon(60))) for _ in range(2))
    outcomes = await asyncio.gather(first, queued, waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectionLost, SiloUnavailable, SiloUnavailable]


async def test_a_silo_declared_dead_fails_all_its_pending_calls(line: Make) -> None:
    here = line()
    silo = await here.silo()
    send = asyncio.create_task(here.sender.send(silo.address, request(), soon(60)))
    await silo.came.wait()
    here.peers.kill(silo.address)
    here.sender.drop_link(silo.address)
    with pytest.raises(ConnectionLost, match="declared dead"):
        await send


@pytest.mark.parametrize("rounds", range(8))
async def test_a_silo_declared_dead_while_its_connection_opens(line: Make, rounds: int) -> None:
    """At every step of the connection's start the caller gets a typed error, not an internal one."""
    here = line()
    silo = await here.silo(lambda _, r: Response(r.id))
    send = asyncio.create_task(here.sender.send(silo.address, request(), soon(60)))
    await settle(rounds)
    here.peers.kill(silo.address)
    here.sender.drop_link(silo.address)
    try:
        await send
    except (SiloUnavailable, ConnectionLost):
        return
    assert len(silo.requests) == 1


async def test_posted_is_called_once_the_request_is_queued(line: Make) -> None:
    here, posted = line(), []
    silo = await here.silo(lambda _, r: Response(r.id))
    await here.sender.send(silo.address, request(), soon(5), lambda _: posted.append(True))
    assert posted == [True]
    with pytest.raises(SiloUnavailable):
        await here.sender.send(ELSEWHERE, request(), soon(5), lambda _: posted.append(True))
    assert posted == [True]


# --- questions to system targets -----------------------------------------------------------------------------------


async def test_a_question_is_answered(line: Make) -> None:
    here = line()
    silo = await here.silo(lambda _, r: Response(r.id, r.args.upper()))
    assert await here.sender.ask(silo.address, "probe", b"are you there", 1) == b"ARE YOU THERE"
    assert str(silo.requests[0].grain_id) == "grange.system/probe"
    assert silo.requests[0].timeout_ms == 1000


async def test_what_the_service_raised_is_raised(line: Make) -> None:
    here = line()
    fault = msgspec.msgpack.encode(Faults().dump(LookupError("no such range")))
    silo = await here.silo(lambda _, r: Response(r.id, fault, failed=True))
    with pytest.raises(LookupError, match="no such range"):
        await here.sender.ask(silo.address, "directory", b"", 1)


@pytest.mark.parametrize(
    ("reply", "error"),
    [(Rejection(1, Reason.NO_SUCH_GRAIN, "no such service"), GrangeError), (None, CallTimeout)],
)
async def test_a_question_that_is_not_answered_is_a_typed_error(
    line: Make, reply: Rejection | None, error: type[Exception]
) -> None:
    here = line()
    silo = await here.silo(lambda _, r: reply and msgspec.structs.replace(reply, id=r.id))
    with pytest.raises(error):
        await here.sender.ask(silo.address, "probe", b"", 1)


async def test_the_reason_of_a_refused_handshake_is_kept(line: Make) -> None:
    """It lets a client distinguish a wrong cluster from a silent one."""
    here = line()
    silo = await here.silo()
    wrong = msgspec.structs.replace(silo.address, generation=9)
    here.hello = msgspec.structs.replace(here.hello, target=wrong)
    with pytest.raises(SiloUnavailable) as caught:
        await here.sender.send(wrong, request(), soon(5))
    assert isinstance(caught.value.__cause__, HandshakeRefused)
    assert caught.value.__cause__.code == "other-generation"
