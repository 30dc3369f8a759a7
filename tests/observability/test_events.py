"""One call logs an event, counts it, keeps it and tells it; from any thread, and at a bounded rate."""

from __future__ import annotations

import asyncio
import logging

import pytest

from grange.errors import StorageUnavailable
from grange.observability import catalogue
from grange.observability.events import RING_SIZE, Events
from grange.observability.turn_events import LoopBlocked
from grange.proto.journal import EventRow
from grange.testing.loop import VirtualTime

ME = "10.0.0.1:11111@1"


async def test_one_call_logs_counts_keeps_and_tells(caplog: pytest.LogCaptureFixture) -> None:
    events, told = Events(ME), list[EventRow]()
    events.subscribe(told.append)
    events.publish(catalogue.SelfFenced(3.25))
    (record,) = caplog.records
    text = f"silo {ME} starts no turns: for 3.2 s it was not heard by all silos that watch it, could not read the"
    assert record.getMessage().startswith(text)
    assert (record.name, record.levelno, record.event, record.facts) == (  # type: ignore[attr-defined]
        "grange.membership",
        logging.ERROR,
        "self_fenced",
        {"seconds": 3.25},
    )
    assert record.filename == "test_events.py"
    rows, lost = events.after(0, 10)
    assert rows == told
    assert [(row.number, row.name, row.text, row.facts) for row in rows] == [
        (1, "self_fenced", record.getMessage(), {"seconds": 3.25})
    ]
    assert lost == 0
    assert events.counts == {"self_fenced": 1}


async def test_what_the_limit_leaves_out_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    with VirtualTime(asyncio.get_running_loop()).installed():
        events = Events(ME)
        for _ in range(500):
            events.publish(catalogue.TableUnreachable("the view could not be read", "no answer"))
        events.publish(catalogue.StorageUnavailable("default", "no answer"))
        await asyncio.sleep(60)
        events.publish(catalogue.TableUnreachable("the view could not be read", "no answer"))
    texts = [row.text for row in events.after(0, 100)[0]]
    assert texts == [record.getMessage() for record in caplog.records]
    assert len(texts) == 12
    assert texts[-1] == "the view could not be read: no answer (490 suppressed)"
    assert events.counts == {"table_unreachable": 501, "storage_unavailable": 1}
    assert events.suppressed == 490


async def test_a_flood_of_one_kind_leaves_room_for_the_others() -> None:
    """One store that fails must not push the deaths of silos out of the ring."""
    events = Events(ME)
    events.publish(catalogue.SiloDeclaredDead("10.0.0.2:11111@1", "the votes of a, b", "no answer"))
    for _ in range(2 * RING_SIZE):
        events.publish(catalogue.StorageUnavailable("default", "no answer"))
    assert events.after(0, 1)[0][0].name == "silo_declared_dead"


async def test_a_bug_is_logged_with_its_traceback_and_a_foreseen_error_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = Events(ME)
    events.publish(catalogue.StorageProbeFailed("default", "KeyError"), KeyError("a bug"))
    events.publish(catalogue.StorageUnavailable("default", "away"), StorageUnavailable("away"))
    assert [record.exc_info is not None for record in caplog.records] == [True, False]


async def test_another_thread_may_publish_and_subscribers_run_in_the_loop() -> None:
    events, told = Events(ME), asyncio.Queue[tuple[EventRow, bool]]()
    loop = asyncio.get_running_loop()
    events.subscribe(lambda row: told.put_nowait((row, asyncio._get_running_loop() is loop)))
    await asyncio.to_thread(events.publish, LoopBlocked(1.5, "  a frame"))
    row, in_loop = await told.get()
    assert in_loop
    assert row.facts == {"seconds": 1.5, "stack": "  a frame", "by": "code", "grain_type": "", "line": ""}


async def test_a_subscriber_that_fails_is_logged_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    events, told = Events(ME), list[EventRow]()

    def fail(_: EventRow) -> None:
        raise ValueError("a bug")

    events.subscribe(fail)
    end = events.subscribe(told.append)
    events.publish(catalogue.SiloStopped())
    end()
    end()
    events.publish(catalogue.SiloStopped())
    assert len(told) == 1
    assert [getattr(record, "event", "") for record in caplog.records].count("listener_failed") == 2


async def test_a_stack_ends_the_line_and_cannot_forge_another(caplog: pytest.LogCaptureFixture) -> None:
    events = Events(ME)
    events.publish(LoopBlocked(1.5, "  first\nERROR forged\x1b[2J"))
    assert caplog.records[0].getMessage().splitlines() == [
        f"the event loop of silo {ME} has been blocked for 1.5 s by code, which does not yield to it:",
        "    first",
        "  ERROR forged\\x1b[2J",
    ]


async def test_a_hostile_name_is_inert_in_text_and_facts_stay_as_they_are() -> None:
    events = Events(ME)
    events.publish(catalogue.SiloActive("x\n\x1b[31m{me}"))
    row = events.after(0, 1)[0][0]
    assert "\n" not in row.text
    assert "\x1b" not in row.text
    assert "{me}" in row.text
    assert row.facts == {"cluster": "x\n\x1b[31m{me}"}
