"""The reminders of one silo: owns slots of the hash ring, reads what is due soon, and delivers it in time.

One task reads and starts deliveries; each delivery is a task of its own. In order: `start`, `on_view` for each view,
`stop` before this silo leaves its cluster.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

from grange.aio.backoff import Backoff
from grange.aio.portions import PORTION
from grange.aio.tasks import Tasks
from grange.errors import StorageError
from grange.grains.enumeration import CallsGrains
from grange.membership.model.member import View
from grange.observability.counters import ReminderFigures
from grange.observability.events import Events
from grange.observability.reminder_events import RemindersRead, RemindersUnread
from grange.proto.ids import GrainId, SiloAddress
from grange.reminders.agenda import Agenda
from grange.reminders.delivery import Deliveries, DeliveryDeps
from grange.reminders.options import ReminderOptions
from grange.reminders.owners import Owners
from grange.reminders.schedule import SECOND
from grange.reminders.store import ReminderStore
from grange.runtime.gate import Gate
from grange.storage.sets import slot_of

READ_FIRST, READ_LIMIT = 0.2, 5.0
"""Seconds before a read that failed is repeated: the first pause and the longest."""

SOONEST_READ = 0.2
"""Seconds between two reads at least, when more is due than one read takes."""

FULL_READ = 1.0
"""Seconds between two reads at least, while more than half of what one read finds is held already."""

MOST_LOOKS = 500
"""Grains whose rows are read one by one at a time; of more changes, a read of all that is due tells."""

LONGEST_WAIT = 1.0
"""Seconds that the task waits at most before it looks at the clock again."""

NEWS_KEPT = 10.0
"""Seconds for which a silo passes on what it was told of slots that it loses: as long as their new owner may miss it.
"""


class ServiceDeps(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The parts of a silo that its reminders need. `tell` passes on the news of a grain."""

    me: SiloAddress
    call: CallsGrains
    store: ReminderStore
    gate: Gate
    owners: Owners
    tell: Callable[[GrainId], object]
    events: Events
    figures: ReminderFigures
    rng: random.Random


class ReminderService:
    """Delivers the reminders of the slots that this silo owns."""

    def __init__(self, deps: ServiceDeps, options: ReminderOptions) -> None:
        self._deps = deps
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._agenda = Agenda()
        self._deliveries = Deliveries(
            DeliveryDeps(
                call=deps.call, store=deps.store, agenda=self._agenda, look=self._look, events=deps.events,
                figures=deps.figures, options=options, rng=deps.rng,
            )
        )  # fmt: skip
        self._main = Tasks()
        self._looks = Tasks()
        self._under_way = Tasks()
        self._looking: dict[GrainId, bool] = {}  # True: look again after this look
        self._recent: dict[GrainId, float] = {}
        self._woken = asyncio.Event()
        self._running = False
        self._read_due = 0.0
        self._read_failed = False
        self._backoff = Backoff(READ_FIRST, READ_LIMIT, deps.rng)

    @property
    def agenda(self) -> Agenda:
        """What is held in memory."""
        return self._agenda

    @property
    def under_way(self) -> int:
        """Deliveries that have begun and not ended."""
        return len(self._under_way)

    # --- its life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read and deliver. This silo is active."""
        self._running = True
        self._own()
        self._main.start(self._run())

    def on_view(self, _: View) -> None:
        """Subscriber of membership views: own the slots of this silo in the newest one. Never waits."""
        if self._running:
            self._own()

    def hear(self, grains: Iterable[GrainId]) -> list[GrainId]:
        """Reminders of these grains have changed. Returns the grains that lie in slots of other silos."""
        others: list[GrainId] = []
        for grain_id in grains:
            if not self._running or slot_of(grain_id) not in self._agenda.slots:
                others.append(grain_id)
                continue
            self._recent.pop(grain_id, None)
            self._recent[grain_id] = self._loop.time()
            self._look(grain_id)
        return others

    async def stop(self) -> None:
        """Deliver no more, and wait for the deliveries under way. The silo leaves its cluster afterwards."""
        self._running = False
        await self._main.close()
        self._agenda.own(frozenset())
        await self._under_way.wait()

    async def kill(self) -> None:
        """End at once."""
        self._running = False
        for tasks in (self._main, self._looks, self._under_way):
            await tasks.close()

    def _own(self) -> None:
        slots = self._deps.owners.slots(self._deps.me)
        lost, gained = self._agenda.slots - slots, slots - self._agenda.slots
        self._agenda.own(slots)
        if gained:
            self._read_due = self._loop.time() + self._options.settle
            self._woken.set()
        self._forget_old_news()
        for grain_id in [grain_id for grain_id in self._recent if slot_of(grain_id) in lost]:
            del self._recent[grain_id]
            self._deps.tell(grain_id)

    def _forget_old_news(self) -> None:
        oldest = self._loop.time() - NEWS_KEPT
        for grain_id, heard in list(self._recent.items()):
            if heard >= oldest:
                return
            del self._recent[grain_id]

    # --- reads ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            if self._loop.time() >= self._read_due:
                await self._read()
            if self._deliver_due():
                await asyncio.sleep(0)
            else:
                await self._wait()

    async def _wait(self) -> None:
        """Until something is due, or must be read, or was changed."""
        seconds = min(LONGEST_WAIT, max(0.0, self._read_due - self._loop.time()))
        due = self._agenda.next_due
        if due is not None and self._may_deliver():
            seconds = min(seconds, max(0.0, self._deps.store.seconds_until(due)))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def _read(self) -> None:
        """Read the clock of the store, and what is due until the end of the window."""
        deps, options = self._deps, self._options
        self._forget_old_news()
        try:
            await deps.store.read_clock()
            reading = self._agenda.begin(deps.store.now() + int(options.window * SECOND))
            try:
                limit = options.read_limit + options.most_under_way  # these are due, too, until they end
                slots = sorted(reading.slots)
                rows = await deps.store.due(slots, reading.until, limit) if slots else []
            except BaseException:
                self._agenda.give_up(reading)
                raise
        except StorageError as error:
            if not self._read_failed:
                deps.events.publish(RemindersUnread(str(error)[:500]))
            self._read_failed = True
            self._read_due = self._loop.time() + self._backoff.pause()
            return
        if self._read_failed:
            deps.events.publish(RemindersRead())
        self._read_failed = False
        self._backoff.reset()
        self._agenda.end(reading, rows, more=len(rows) >= limit)
        self._plan_read()

    def _plan_read(self) -> None:
        """The next read: after a refresh period, or before the clock reaches the horizon."""
        options, now = self._options, self._loop.time()
        margin = int((options.window - options.refresh) * SECOND)
        until_horizon = self._deps.store.seconds_until(self._agenda.horizon - margin)
        if self._read_due > now:  # slots were gained while it read
            return
        if len(self._agenda) > options.read_limit // 2:  # there is enough to do: a silo that is late must not read on
            until_horizon = max(until_horizon, FULL_READ)
        self._read_due = now + min(options.refresh, max(SOONEST_READ, until_horizon))

    def _look(self, grain_id: GrainId) -> None:
        """Read the rows of one grain anew: they have changed. Until then none of them is delivered."""
        if grain_id in self._looking:
            self._looking[grain_id] = True
        elif len(self._looking) >= MOST_LOOKS:
            self._agenda.give_up(self._agenda.begin_grain(grain_id))
            self._read_due = min(self._read_due, self._loop.time() + SOONEST_READ)
        else:
            self._looking[grain_id] = True
            self._looks.start(self._look_until_done(grain_id))

    async def _look_until_done(self, grain_id: GrainId) -> None:
        backoff = Backoff(READ_FIRST, READ_LIMIT, self._deps.rng)
        try:
            while self._looking[grain_id] and slot_of(grain_id) in self._agenda.slots:
                self._looking[grain_id] = False
                reading = self._agenda.begin_grain(grain_id)
                try:
                    rows = await self._deps.store.of(grain_id)
                except StorageError:
                    self._agenda.give_up(reading)
                    self._looking[grain_id] = True
                    await asyncio.sleep(backoff.pause())
                else:
                    self._agenda.end_grain(grain_id, reading, rows)
                    self._woken.set()
        finally:
            del self._looking[grain_id]

    # --- deliveries -----------------------------------------------------------------------------------------------

    def _may_deliver(self) -> bool:
        return self._deps.gate.fenced is None and len(self._under_way) < self._options.most_under_way

    def _deliver_due(self) -> bool:
        """Start deliveries that are due. True: more are due, and the loop must run other tasks first."""
        for _ in range(PORTION):
            if not self._may_deliver():
                return False
            loaded = self._agenda.take(self._deps.store.now())
            if loaded is None:
                return False
            task = self._under_way.start(self._deliveries.deliver(loaded))
            task.add_done_callback(self._delivered)
        return True

    def _delivered(self, _: object) -> None:
        self._woken.set()
