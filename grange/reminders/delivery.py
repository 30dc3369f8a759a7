"""Delivers one reminder that is due: decides, calls the grain, then stores what comes next.

The row is changed after the delivery, so a tick is repeated rather than lost if this silo dies in between; it then has
the same id. While the store is away, the change waits here, and the tick is not delivered again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from grange.aio.backoff import Backoff
from grange.errors import (
    CallNotExecuted,
    CallOutcomeUnknown,
    InconsistentStateError,
    NoSuchGrain,
    NoSuchMethod,
    StorageError,
)
from grange.grains.enumeration import CallsGrains
from grange.grains.tick import Job, Retry, Tick, sent_method
from grange.observability.counters import ReminderFigures
from grange.observability.events import Events
from grange.observability.reminder_events import ReminderFailed, ReminderParked, ReminderUnreadable
from grange.proto.ids import GrainId
from grange.reminders.agenda import Agenda, Loaded
from grange.reminders.entry import JOB, TEXT_LIMIT, Entry, pause_after, read_entry, tick_id
from grange.reminders.options import ReminderOptions
from grange.reminders.schedule import SECOND, Due, Missed, decide
from grange.reminders.store import ReminderStore

ON_REMINDER, ON_JOB = sent_method("on_reminder"), sent_method("on_job")

STORE_FIRST, STORE_LIMIT = 0.1, 2.0
"""Seconds before a change is stored again while the store is away: the first pause and the longest."""

REFUSED = Retry(first=0.2, longest=10.0)
"""The pauses before a delivery that no silo took is repeated. Such a delivery counts as no attempt."""

REFUSALS = 6
"""Refusals, about 6 s, after which a delivery that no silo takes is put off in the store. A read finds so many rows at
most: those that no silo takes must not hide all others."""

PUT_OFF = 10 * SECOND
"""Microseconds for which it is put off, from then on at each refusal. After a trouble of the cluster it comes within
them."""

LONGEST_PUT_OFF = 60 * SECOND
"""Microseconds for which one is put off at most that asks for what no silo has, such as a class that was removed."""

UNREADABLE_PAUSE = 300 * SECOND
"""Microseconds until a row that this silo cannot read is tried again: a newer silo may own it by then."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DeliveryDeps(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The parts of a silo that a delivery needs. `look` has the rows of a grain read anew."""

    call: CallsGrains
    store: ReminderStore
    agenda: Agenda
    look: Callable[[GrainId], None]
    events: Events
    figures: ReminderFigures
    options: ReminderOptions
    rng: random.Random


class Deliveries:
    """Delivers reminders and jobs, each in a task of its owner."""

    def __init__(self, deps: DeliveryDeps) -> None:
        self._deps = deps

    async def deliver(self, loaded: Loaded) -> None:
        """Deliver one reminder that was taken from the agenda, and end its delivery there."""
        deps, row = self._deps, loaded.row
        now = deps.store.now()
        try:
            entry = read_entry(row)
            due = decide(entry.schedule, entry.occurrence, now, int(deps.options.missed_after * SECOND))
        except (StorageError, ValueError) as error:  # a row of another release, or a time zone that is not installed
            deps.events.publish(ReminderUnreadable(str(row.grain_id), row.name, str(error)[:TEXT_LIMIT]))
            deps.agenda.again(loaded, now + UNREADABLE_PAUSE)
            return
        if due.occurrence is None:
            deps.figures.missed += due.missed
            await self._store(loaded, entry, due.then)
            return
        if due.occurrence != entry.occurrence:
            left_out = entry.left_out + due.missed
            entry = msgspec.structs.replace(entry, occurrence=due.occurrence, failed=0, error="", left_out=left_out)
        if not entry.failed:
            deps.figures.lateness.observe(max(0, now - due.occurrence) / SECOND)
        await self._call(loaded, entry, due)

    async def _call(self, loaded: Loaded, entry: Entry, due: Due) -> None:
        deps = self._deps
        try:
            held = await self._send(loaded, entry)
        except CallNotExecuted as error:
            await self._refused(loaded, error)
            return
        except Exception as error:  # of the author's code, or its outcome is unknown
            deps.figures.failed += 1
            deps.figures.missed += due.missed
            await self._failed(loaded, entry, due, error)
            return
        if held is False:  # it was cancelled, or set anew
            deps.look(loaded.row.grain_id)
            return
        deps.figures.delivered += 1
        deps.figures.missed += due.missed
        await self._store(loaded, entry, due.then)

    async def _send(self, loaded: Loaded, entry: Entry) -> Any:
        row, occurrence = loaded.row, entry.occurrence
        at, payload, attempt = EPOCH + timedelta(microseconds=occurrence), decoded(entry), entry.failed + 1
        if row.name.startswith(JOB):
            job = Job(id=entry.id, name=entry.label, due=at, payload=payload, metadata=entry.metadata, attempt=attempt)
            return await self._deps.call(row.grain_id, ON_JOB, (job,), {})
        tick = Tick(
            name=row.name, id=tick_id(entry.id, occurrence), scheduled=at, payload=payload, missed=entry.left_out,
            attempt=attempt,
        )  # fmt: skip
        return await self._deps.call(row.grain_id, ON_REMINDER, (tick,), {})

    async def _refused(self, loaded: Loaded, error: CallNotExecuted) -> None:
        """Try again later. It counts as no attempt, and changes nothing but the time at which the row is due."""
        deps, row, entry = self._deps, loaded.row, read_entry(loaded.row)
        deps.figures.refused += 1
        loaded.refusals += 1
        now, asked = deps.store.now(), int(getattr(error, "retry_after", 0) * SECOND)
        was_put_off = row.due is not None and row.due > entry.occurrence and not entry.failed
        if loaded.refusals >= REFUSALS or was_put_off:
            await self._replace(loaded, now + max(asked, _put_off(entry, error, now)), entry)
        else:
            deps.agenda.again(loaded, now + max(asked, pause_after(REFUSED, loaded.refusals)))

    async def _failed(self, loaded: Loaded, entry: Entry, due: Due, error: Exception) -> None:
        """Note a failed attempt, and try again later; after too many, go on with the next tick, or park.

        One that is given up, and perhaps never came to its grain, counts as missed in the next one.
        """
        deps, row, failed = self._deps, loaded.row, entry.failed + 1
        text, unknown = _text_of(error), isinstance(error, CallOutcomeUnknown)
        again = deps.store.now() + pause_after(entry.retry, failed)
        overtaken = due.then is not None and due.then <= again and entry.schedule.missed is not Missed.ALL
        if failed < entry.retry.attempts and not overtaken:
            deps.events.publish(ReminderFailed(str(row.grain_id), row.name, failed, text), error)
            kept = msgspec.structs.replace(entry, failed=failed, error=text)
            await self._replace(loaded, again, kept)
        elif due.then is not None:
            deps.events.publish(ReminderFailed(str(row.grain_id), row.name, failed, text), error)
            deps.figures.given_up += 1
            await self._store(loaded, entry, due.then, entry.left_out + 1 if unknown else 0)
        else:
            deps.events.publish(ReminderParked(str(row.grain_id), row.name, failed, text), error)
            deps.figures.given_up += 1
            await self._replace(loaded, None, msgspec.structs.replace(entry, failed=failed, error=text))

    async def _store(self, loaded: Loaded, entry: Entry, then: int | None, left_out: int = 0) -> None:
        """Store that its occurrence is done: the next one, of which so many were left out, or the end."""
        if then is None:
            await self._replace(loaded, None, None)
        else:
            entry = msgspec.structs.replace(entry, occurrence=then, failed=0, error="", left_out=left_out)
            await self._replace(loaded, then, entry)

    async def _replace(self, loaded: Loaded, when: int | None, entry: Entry | None) -> None:
        deps, row = self._deps, loaded.row
        new = None if entry is None else deps.store.row(row.grain_id, row.name, when, entry)
        backoff = Backoff(STORE_FIRST, STORE_LIMIT, deps.rng)
        while True:
            try:
                await deps.store.change(row.grain_id, row.name, row.etag, new)
            except InconsistentStateError:  # it was cancelled or set anew; or this silo is dead
                deps.look(row.grain_id)
                return
            except StorageError:
                await asyncio.sleep(backoff.pause())
            else:
                if not deps.agenda.done(loaded, new):
                    deps.look(row.grain_id)
                return


def _put_off(entry: Entry, error: CallNotExecuted, now: int) -> int:
    """Microseconds for which a delivery is put off in the store that no silo takes.

    For what no silo has, as long as it is late already: one that comes back after a while is found within twice that.
    """
    if isinstance(error, NoSuchGrain | NoSuchMethod):
        return min(LONGEST_PUT_OFF, max(PUT_OFF, now - entry.occurrence))
    return PUT_OFF


def _text_of(error: Exception) -> str:
    """The error as a text that databases hold: without NUL characters and lone surrogates."""
    text = f"{type(error).__name__}: {error}"[:TEXT_LIMIT]
    return text.encode(errors="replace").decode().replace("\0", "?")


def decoded(entry: Entry) -> Any:
    """The payload of a tick."""
    return msgspec.json.decode(entry.payload)
