"""The store as reminders use it: its clock as seen from here, the rows, and changes of one row."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from typing import NamedTuple

from grange.errors import InconsistentStateError
from grange.grains.work import Settled
from grange.proto.ids import GrainId
from grange.reminders.entry import Entry, encode_entry
from grange.reminders.schedule import SECOND
from grange.runtime.requests.invocation import work_of_turn
from grange.storage.provider import ReminderStorage, SetStorage
from grange.storage.sets import ChangeSet, ReminderChange, ReminderRow, Stamp, slot_of

DRIFT = 5e-4
"""Seconds that one of two clocks may gain on the other in a second: as fast as NTP sets a clock right."""

CLOCK_AGE = 60.0
"""Seconds after which the clock of the store is read anew."""


class Keeping(NamedTuple):
    """One storage, as the two protocols that reminders need."""

    sets: SetStorage
    rows: ReminderStorage


class ReminderStore:
    """The store of reminders of one silo. `stamps` makes the stamps of this silo."""

    def __init__(self, storage: Keeping, stamps: Callable[[], Stamp], rng: random.Random) -> None:
        self._sets, self._rows = storage
        self._stamps = stamps
        self._random = rng
        self._loop = asyncio.get_running_loop()
        self._read_at = 0
        self._asked, self._answered = -CLOCK_AGE, -CLOCK_AGE

    # --- the clock ------------------------------------------------------------------------------------------------

    async def read_clock(self) -> None:
        """Read the clock of the store. Raises StorageError."""
        asked = self._loop.time()
        now = await self._rows.now()
        self._read_at, self._asked, self._answered = now, asked, self._loop.time()

    async def know_clock(self) -> None:
        """Read the clock of the store if that was not done for a while. Raises StorageError."""
        if self._loop.time() - self._answered >= CLOCK_AGE:
            await self.read_clock()

    def now(self) -> int:
        """The time of the store in microseconds; it may be later there, but not earlier. Nothing is due before it."""
        return self._read_at + int((self._loop.time() - self._answered) * (1 - DRIFT) * SECOND)

    def latest(self) -> int:
        """As `now`, but it may be earlier in the store, and not later: what is due in a second is due after this."""
        return self._read_at + int((self._loop.time() - self._asked) * (1 + DRIFT) * SECOND) + 1

    def seconds_until(self, time: int) -> float:
        """Seconds until `now` shows this time."""
        return (time - self.now()) / (1 - DRIFT) / SECOND

    # --- rows -----------------------------------------------------------------------------------------------------

    def row(self, grain_id: GrainId, name: str, due: int | None, entry: Entry) -> ReminderRow:
        """A new row with an etag that no other has."""
        etag = f"{self._random.getrandbits(96):024x}"
        return ReminderRow(grain_id, name, slot_of(grain_id), due, encode_entry(entry), etag)

    def new_id(self) -> str:
        """A random id for a reminder that is set, or a job."""
        return f"{self._random.getrandbits(96):024x}"

    async def of(self, grain_id: GrainId) -> list[ReminderRow]:
        """All rows of a grain, as the running turn has changed them. Raises StorageError."""
        rows = await self._rows.reminders_of(grain_id)
        work = work_of_turn()
        return rows if work is None else _changed(rows, [each for each in work.added if each.grain_id == grain_id])

    @property
    def joins_turn(self) -> bool:
        """Whether changes are stored with what the running turn changes, when it ends."""
        return work_of_turn() is not None

    async def due(self, slots: Collection[int], until: int, limit: int) -> list[ReminderRow]:
        """The rows of these slots that are due until then, the earliest first. Raises StorageError."""
        return await self._rows.reminders_due(slots, until, limit)

    async def parked(self, slots: Collection[int], limit: int) -> list[ReminderRow]:
        """The rows of these slots that are never due. Raises StorageError."""
        return await self._rows.reminders_parked(slots, limit)

    async def change(
        self, grain_id: GrainId, name: str, held: str | None, row: ReminderRow | None, settled: Settled = lambda _: None
    ) -> None:
        """Replace the row whose etag is `held` (None: there must be none); `row` None removes it.

        In a transactional turn it is stored when that ends, with all that it changes. `settled` is called once it is
        stored (True), or may be (False). Raises InconsistentStateError if the etag is another one, and StorageError.
        """
        change, work = ReminderChange(grain_id, name, held, row), work_of_turn()
        if work is not None:
            work.add(self._sets, change, settled)
            return
        try:
            await self._sets.commit(ChangeSet(self._stamps(), reminders=(change,)))
        except InconsistentStateError:
            raise
        except BaseException:
            settled(False)
            raise
        settled(True)


def _changed(rows: list[ReminderRow], changes: list[ReminderChange]) -> list[ReminderRow]:
    """The rows of a grain after these changes, by name."""
    after: dict[str, ReminderRow | None] = {row.name: row for row in rows}
    after |= {change.name: change.row for change in changes}
    return [row for _, row in sorted(after.items()) if row is not None]
