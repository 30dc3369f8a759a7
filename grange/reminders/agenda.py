"""Which reminders a silo holds in memory, and which of them are due. Pure.

A silo owns slots of the hash ring. Of its reminders it holds those that are due up to the `horizon`, and reads on
before the clock gets there; all others stay in the store. What changes while a read is under way is newer than the
read, so the read cannot bring it back.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterable, Iterator

from grange.proto.ids import GrainId
from grange.storage.sets import ReminderRow

MOST_STALE = 1_000
"""Places in the queue of reminders that were changed since, beyond which they are removed."""

Name = tuple[GrainId, str]
"""A reminder: its grain and its name."""


class Loaded:
    """One row in memory. `when`: the time from which it may be delivered. `taken`: it is being delivered.

    `refusals`: how often no silo took its delivery.
    """

    __slots__ = ("refusals", "row", "taken", "when")

    def __init__(self, row: ReminderRow, when: int) -> None:
        self.row = row
        self.when = when
        self.taken = False
        self.refusals = 0

    @property
    def name(self) -> Name:
        """The reminder."""
        return self.row.grain_id, self.row.name


class Reading:
    """A read of the store that is under way: what it asks for, and what has changed since it began.

    `changed`: the reminders. `grains`: those of which news came, so that any of their reminders may have changed.
    """

    __slots__ = ("changed", "grains", "slots", "until")

    def __init__(self, slots: frozenset[int], until: int) -> None:
        self.slots = slots
        self.until = until
        self.changed: set[Name] = set()
        self.grains: set[GrainId] = set()

    def is_older(self, name: Name) -> bool:
        """Whether this reminder may have changed since the read began."""
        return name in self.changed or name[0] in self.grains


class Agenda:
    """The reminders of one silo in memory. `horizon`: all its reminders that are due until then are here."""

    def __init__(self) -> None:
        self.slots: frozenset[int] = frozenset()
        self.horizon = 0
        self._loaded: dict[Name, Loaded] = {}
        self._of_grain: dict[GrainId, set[str]] = {}
        self._queue: list[tuple[int, int, Loaded]] = []
        self._numbers = itertools.count()
        self._readings: set[Reading] = set()

    def __len__(self) -> int:
        return len(self._loaded)

    def __iter__(self) -> Iterator[Loaded]:
        return iter(self._loaded.values())

    def own(self, slots: frozenset[int]) -> None:
        """Own exactly these slots. Forgets the reminders of lost ones; gained ones are not read yet."""
        if slots - self.slots:
            self.horizon = 0
        self.slots = slots
        for each in [each for each in self._loaded.values() if each.row.slot not in slots]:
            self._forget(each.name)

    # --- reads ----------------------------------------------------------------------------------------------------

    def begin(self, until: int) -> Reading:
        """A read of all own reminders that are due until then begins. `end` or `give_up` must follow."""
        return self._begin(Reading(self.slots, until))

    def end(self, reading: Reading, rows: Iterable[ReminderRow], more: bool) -> None:
        """The read has these rows, in order of their due times. `more`: there are later ones until `reading.until`."""
        self._readings.discard(reading)
        found = {(row.grain_id, row.name): row for row in rows}
        until = reading.until
        if more and found:
            until = max(row.due or 0 for row in found.values()) - 1  # of that very time there may be more
        for each in list(self._loaded.values()):
            known = each.row.due is not None and each.row.due <= until and each.row.slot in reading.slots
            if known and each.name not in found and not reading.is_older(each.name):
                self._forget(each.name)
        for name, row in found.items():
            if not reading.is_older(name):
                self._put(row)
        if self.slots <= reading.slots:
            self.horizon = until

    def begin_grain(self, grain_id: GrainId) -> Reading:
        """Something about this grain has changed: forget what waits, until `end_grain` brings what is true now."""
        for each in self._of(grain_id):
            if not each.taken:
                self.removed(each.name)
        for earlier in self._readings:
            earlier.grains.add(grain_id)
        return self._begin(Reading(self.slots, 0))

    def end_grain(self, grain_id: GrainId, reading: Reading, rows: Iterable[ReminderRow]) -> None:
        """All reminders of the grain, as the store has them."""
        self._readings.discard(reading)
        found = {(row.grain_id, row.name): row for row in rows}
        for each in self._of(grain_id):
            if each.name not in found and each.name not in reading.changed:
                self.removed(each.name)
        for name, row in found.items():
            if name not in reading.changed:
                self.note(row)

    def _of(self, grain_id: GrainId) -> list[Loaded]:
        return [self._loaded[grain_id, name] for name in self._of_grain.get(grain_id, ())]

    def give_up(self, reading: Reading) -> None:
        """The read has failed. It changes nothing."""
        self._readings.discard(reading)

    def _begin(self, reading: Reading) -> Reading:
        self._readings.add(reading)
        return reading

    def _changed(self, name: Name) -> None:
        for reading in self._readings:
            reading.changed.add(name)

    # --- changes and deliveries -----------------------------------------------------------------------------------

    def note(self, row: ReminderRow) -> None:
        """This row was stored just now: hold it if it is due until the horizon, else forget the reminder.

        A read under way will move the horizon, and leave this reminder alone; so its end counts already.
        """
        self._changed((row.grain_id, row.name))
        if row.due is not None and row.due <= max(self.horizon, *(each.until for each in self._readings), 0):
            self._put(row)
        else:
            self._forget((row.grain_id, row.name))

    def removed(self, name: Name) -> None:
        """The reminder is not stored any more."""
        self._changed(name)
        self._forget(name)

    def take(self, now: int) -> Loaded | None:
        """The next reminder that is due, taken for delivery: `done` must follow. None: none is due."""
        due = self.next_due
        if due is None or due > now:
            return None
        _, _, loaded = heapq.heappop(self._queue)
        loaded.taken = True
        return loaded

    def done(self, loaded: Loaded, row: ReminderRow | None) -> bool:
        """A delivery has ended, and stored this row (None: removed it).

        If the silo has learnt of a newer row meanwhile, that one stays. False: it has forgotten the reminder meanwhile,
        perhaps because it was cancelled after this row was stored; only the store can tell.
        """
        held = self._loaded.get(loaded.name)
        if row is None and held in (None, loaded):
            self.removed(loaded.name)
        elif held is loaded and row is not None:
            self._forget(loaded.name)
            self.note(row)
        return held is not None or row is None

    def again(self, loaded: Loaded, when: int) -> None:
        """A delivery has changed nothing: repeat it at this time, if the reminder is still here."""
        if self._loaded.get(loaded.name) is loaded:
            loaded.taken, loaded.when = False, when
            self._push(loaded)

    @property
    def next_due(self) -> int | None:
        """The time from which the next reminder may be delivered. None: none waits."""
        queue = self._queue
        while queue and not self._waits(queue[0][2]):
            heapq.heappop(queue)
        return queue[0][0] if queue else None

    def _put(self, row: ReminderRow) -> None:
        if row.slot not in self.slots or row.due is None:
            return
        name = row.grain_id, row.name
        known = self._loaded.get(name)
        if known is not None and known.row.etag == row.etag:
            return  # it is here already, perhaps under way or put off
        loaded = self._loaded[name] = Loaded(row, row.due)
        self._of_grain.setdefault(row.grain_id, set()).add(row.name)
        self._push(loaded)

    def _push(self, loaded: Loaded) -> None:
        heapq.heappush(self._queue, (loaded.when, next(self._numbers), loaded))
        if len(self._queue) > 2 * len(self._loaded) + MOST_STALE:
            self._queue = [each for each in self._queue if self._waits(each[2])]
            heapq.heapify(self._queue)

    def _waits(self, loaded: Loaded) -> bool:
        return not loaded.taken and self._loaded.get(loaded.name) is loaded

    def _forget(self, name: Name) -> None:
        if self._loaded.pop(name, None) is not None:
            names = self._of_grain[name[0]]
            names.discard(name[1])
            if not names:
                del self._of_grain[name[0]]


def owned_slots(ranges: Collection[tuple[int, int]], bits: int) -> frozenset[int]:
    """The slots whose first hash lies in one of these half-open ranges of 64-bit hashes. `bits`: of a slot's number."""
    width = 64 - bits
    return frozenset(slot for start, end in ranges for slot in range(-(-start >> width), -(-end >> width)))
