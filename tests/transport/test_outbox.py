"""The send queue: its bounds, and the callers that wait for room."""

from __future__ import annotations

import asyncio

import pytest

from grange.errors import PayloadTooLarge, SiloUnavailable
from grange.proto.message import Cancel, Message, Reason, Rejection, Status
from grange.transport.options import TransportOptions
from grange.transport.outbox import WORTH_A_FRAME, Outbox, frame_size
from tests.transport.net import request


def outbox(peer_limit: int = 0, **options: int) -> Outbox:
    return Outbox(TransportOptions(**options), peer_limit)


def waiting(box: Outbox, callers: int) -> list[asyncio.Task[None]]:
    return [asyncio.ensure_future(box.ready()) for _ in range(callers)]


async def test_as_many_callers_wake_as_there_is_room() -> None:
    box = outbox(queue_messages=4, frame_messages=2)
    for number in range(4):
        box.put(request(number))
    callers = waiting(box, 3)
    await asyncio.sleep(0)
    box.take()
    await asyncio.sleep(0)
    assert [caller.done() for caller in callers] == [True, True, False]
    box.take()
    await asyncio.gather(*callers)


async def test_a_cancelled_caller_passes_its_room_on() -> None:
    box = outbox(queue_messages=1)
    box.put(request(1))
    first, second = waiting(box, 2)
    await asyncio.sleep(0)
    box.take()  # wakes the first
    first.cancel()
    async with asyncio.timeout(5):
        await second
    assert first.cancelled()


async def test_a_woken_caller_waits_again_when_the_room_is_taken() -> None:
    box = outbox(queue_messages=1)
    box.put(request(1))
    (caller,) = waiting(box, 1)
    await asyncio.sleep(0)
    box.take()
    box.put(request(2))  # for example an answer, which does not wait
    await asyncio.sleep(0)
    assert not caller.done()
    box.take()
    await caller


async def test_closing_fails_every_waiting_caller_and_returns_the_queue() -> None:
    box = outbox(queue_messages=2)
    sent = [request(1), request(2)]
    for message in sent:
        box.put(message)
    callers = waiting(box, 2)
    await asyncio.sleep(0)
    assert box.close() == sent
    for caller in [*callers, *waiting(box, 1)]:
        with pytest.raises(SiloUnavailable):
            await caller
    assert box.close() == []


def test_a_frame_takes_no_more_messages_above_its_size() -> None:
    box = outbox(frame_bytes=1000)
    for number, size in enumerate((400, 400, 400, 5000, 1)):
        box.put(request(number, bytes(size)))
    assert [[message.id for message in box.take()] for _ in range(4)] == [[0, 1, 2], [3], [4], []]


def test_a_frame_takes_no_more_than_its_number_of_messages() -> None:
    box = outbox(frame_messages=3)
    for number in range(7):
        box.put(Cancel(number))
    assert [len(box.take()) for _ in range(4)] == [3, 3, 1, 0]


def test_a_frame_takes_all_of_a_short_queue_and_half_of_a_long_one() -> None:
    """A frame that carried the whole backlog would leave the peer idle until it came."""
    assert [frame_size(queued, 256) for queued in (0, 1, 10, 63, 64, 65, 100, 256, 257, 1000)] == [
        0, 1, 10, 63, 32, 33, 50, 128, 256, 256,
    ]  # fmt: skip


def test_a_backlog_is_cut_into_frames_that_are_worth_their_cost() -> None:
    box = outbox()
    for number in range(1000):
        box.put(Cancel(number))
    sizes = [len(batch) for batch in iter(box.take, [])]
    assert sizes == [256, 256, 256, 116, 58, 58]


def test_the_bytes_of_a_frame_count_until_it_is_written() -> None:
    """A silo bounds the answers that its peer has not read, and these are among them."""
    box = outbox()
    for number in range(3):
        box.put(request(number, bytes(1000)))
    queued = box.unwritten
    assert queued >= 3000
    box.take()
    assert (len(box), box.unwritten) == (0, queued)
    box.put(Cancel(4))
    box.written()
    assert box.unwritten == 0


def test_a_put_tells_whether_there_is_room_for_another_by_number_and_by_bytes() -> None:
    box = outbox(queue_messages=3, queue_bytes=2000)
    assert [box.put(Cancel(number)) for number in range(3)] == [True, True, False]
    box.take()
    assert [box.put(request(number, bytes(1000))) for number in range(2)] == [True, False]
    assert box.full


def test_a_frame_is_due_from_a_number_of_messages_or_bytes_on() -> None:
    box = outbox(frame_bytes=1000)
    for number in range(WORTH_A_FRAME):
        assert not box.due
        box.put(Cancel(number))
    assert box.due
    box.take()
    box.put(request(1, bytes(1000)))
    assert box.due


@pytest.mark.parametrize(
    "message",
    [
        request(1, bytes(1001)),
        request(1, key="k" * 70_000),
        Rejection(1, Reason.ACTIVATION_FAILED, fault=bytes(1001)),
        Rejection(1, Reason.NOT_HERE, "m" * 1001),
        Status(1, "t" * 1001),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_over_a_limit_is_refused(message: Message) -> None:
    box = outbox(peer_limit=1000)
    with pytest.raises(PayloadTooLarge, match=f"{type(message).__name__} 1") as caught:
        box.put(message)
    assert caught.value.size > caught.value.limit > 0
    assert len(box) == 0
    assert not box.full
