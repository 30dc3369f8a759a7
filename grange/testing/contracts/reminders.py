"""The contract of reminders as rows of a store. Subclass `ReminderContract` and provide the fixture `open_storage`."""

from __future__ import annotations

import asyncio
import time

from grange.proto.ids import GrainId
from grange.storage.sets import SLOTS, ChangeSet, Stamp, slot_of
from grange.testing.contracts.set_samples import (
    ANN,
    BOB,
    CAT,
    OTHER,
    SILO,
    STATE,
    OpenFull,
    committed,
    lost,
    payloads,
    put,
    reminder,
    remove,
    store,
    write,
)
from grange.testing.contracts.storage_samples import fenced

ALL = range(SLOTS)
END = 2**53 - 1


class ReminderContract:
    """Fixture to provide: `open_storage`, an `OpenFull` on a database that is empty when a test starts."""

    durable = True
    """True if rows outlive the provider that wrote them; False skips the restart case."""

    async def test_what_was_stored_is_read(self, open_storage: OpenFull) -> None:
        """RMT-01: every part of the row; the entry byte for byte. RMT-09: what does not exist is no error."""
        async with open_storage("svc") as storage:
            assert await storage.reminders_of(ANN) == []
            assert await storage.reminders_due(ALL, END, 10) == []
            entry = b'{"every": 1e2, "z": [" "],"a": 1}\n'
            row = reminder(ANN, "call", "etag/1:%", due=1_764_000_000_123_457, entry=entry)
            await store(storage, put(row))
            assert await storage.reminders_of(ANN) == [row]
            assert await storage.reminders_due([row.slot], END, 10) == [row]
            assert await storage.reminders_of(BOB) == []
            assert await storage.reminders_of(GrainId("other", ANN.key)) == []

    async def test_a_change_needs_the_etag_of_the_row(self, open_storage: OpenFull) -> None:
        """RMT-02: each change has a new etag; a change and a removal with the old one keep the row."""
        first = reminder(ANN, "call", "one")
        second, third = reminder(ANN, "call", "two", due=7), reminder(ANN, "call", "three")
        async with open_storage("svc") as storage:
            await store(storage, put(first))
            await lost(store(storage, put(second)), "call")
            await store(storage, put(second, held="one"))
            for stale in (put(third), put(third, held="one"), put(third, held=""), remove(first)):
                await lost(store(storage, stale), "call")
            assert await storage.reminders_of(ANN) == [second]

    async def test_a_reminder_of_another_name_is_another_one(self, open_storage: OpenFull) -> None:
        """RMT-03: a removal with a wrong name, grain or service fails, and keeps the row."""
        row = reminder(ANN, "call", "one")
        async with open_storage("svc") as storage, open_storage("other") as other:
            await store(storage, put(row))
            for wrong in (reminder(ANN, "Call", "one"), reminder(ANN, "", "one"), reminder(BOB, "call", "one")):
                await lost(store(storage, remove(wrong)))
            await lost(store(other, remove(row)))
            assert await other.reminders_due(ALL, END, 10) == []
            assert await storage.reminders_of(ANN) == [row]

    async def test_a_reminder_is_removed_once(self, open_storage: OpenFull) -> None:
        """RMT-04: with the current etag; the second removal fails. It is due no longer."""
        row, kept = reminder(ANN, "call", "one"), reminder(ANN, "kept", "one")
        async with open_storage("svc") as storage:
            await store(storage, put(row), put(kept))
            await store(storage, remove(row))
            await lost(store(storage, remove(row)), "call")
            assert await storage.reminders_of(ANN) == [kept]
            assert await storage.reminders_due(ALL, END, 10) == [kept]

    async def test_a_reminder_made_again_is_another_one(self, open_storage: OpenFull) -> None:
        """Its etag never repeats: what was read before the removal cannot change the new row."""
        first, again = reminder(ANN, "call", "one"), reminder(ANN, "call", "two")
        async with open_storage("svc") as storage:
            await store(storage, put(first))
            await store(storage, remove(first))
            await store(storage, put(again))
            await lost(store(storage, remove(first)))
            await lost(store(storage, put(reminder(ANN, "call", "three"), held="one")))
            assert await storage.reminders_of(ANN) == [again]

    async def test_a_grain_lists_its_own_reminders(self, open_storage: OpenFull) -> None:
        """RMT-10: 5 set at the same time, 5 listed by name, also those that are parked; no others."""
        names = ["b", "a", "🌾", "", "B"]
        async with open_storage("svc") as storage:
            rows = [reminder(ANN, name, "one", due=None if name == "a" else 5) for name in names]
            others = [reminder(grain, "a", "one") for grain in (BOB, GrainId("accounts", "ann"), GrainId("a", "ann"))]
            await asyncio.gather(*(store(storage, put(row)) for row in (*rows, *others)))
            assert await storage.reminders_of(ANN) == sorted(rows, key=lambda row: row.name)
            for row in others:
                assert await storage.reminders_of(row.grain_id) == [row]

    async def test_slots_are_the_arcs_of_the_ring(self, open_storage: OpenFull) -> None:
        """RMT-07: of 1,000 rows all slots return all, no slot none, and a part exactly its own."""
        async with open_storage("svc") as storage:
            grains = [GrainId("many", str(number)) for number in range(1_000)]
            rows = [reminder(grain, "r", "one", due=number) for number, grain in enumerate(grains)]
            await store(storage, *(put(row) for row in rows))
            assert await storage.reminders_due(ALL, END, 1_001) == rows
            assert await storage.reminders_due([], END, 1_001) == []
            half = range(SLOTS // 4, SLOTS // 4 + SLOTS // 2)
            mine = [row for row in rows if row.slot in half]
            assert 300 < len(mine) < 700
            assert await storage.reminders_due(half, END, 1_001) == mine
            assert await storage.reminders_due(frozenset({*range(300), *range(900, SLOTS)}), END, 1_001) == [
                row for row in rows if row.slot < 300 or row.slot >= 900
            ]
            one = rows[500].slot
            assert await storage.reminders_due([one], END, 1_001) == [row for row in rows if row.slot == one]

    async def test_what_is_due_comes_by_due_time(self, open_storage: OpenFull) -> None:
        """Up to a moment, that one included; of more than `limit` the earliest; to the microsecond."""
        base = 1_764_000_000_000_000
        async with open_storage("svc") as storage:
            offsets = [(number * 37) % 101 for number in range(101)]
            rows = [reminder(GrainId("many", str(offset)), "r", "one", due=base + offset) for offset in offsets]
            await store(storage, *(put(row) for row in rows))
            rows.sort(key=lambda row: row.due or 0)
            assert await storage.reminders_due(ALL, base - 1, 200) == []
            assert await storage.reminders_due(ALL, base, 200) == rows[:1]
            assert await storage.reminders_due(ALL, base + 40, 200) == rows[:41]
            for limit in (1, 7, 41, 42):
                assert await storage.reminders_due(ALL, base + 40, limit) == rows[: min(limit, 41)]

    async def test_a_change_moves_the_due_time(self, open_storage: OpenFull) -> None:
        """Forwards, back, parked and due again; a change without a new time leaves it."""
        async with open_storage("svc") as storage:
            held: str | None = None
            for number, due in enumerate((50, 500, 5, None, None, 50, 50)):
                row = reminder(ANN, "call", f"e{number}", due=due)
                await store(storage, put(row, held))
                held = row.etag
                assert await storage.reminders_due(ALL, 100, 10) == ([row] if due is not None and due <= 100 else [])
                assert await storage.reminders_due(ALL, END, 10) == ([] if due is None else [row])
                assert await storage.reminders_parked(ALL, 10) == ([row] if due is None else [])

    async def test_a_parked_reminder_is_never_due(self, open_storage: OpenFull) -> None:
        """It is listed with the parked ones of its slots, by grain and name, until it is removed."""
        async with open_storage("svc") as storage:
            grains = [GrainId(kind, key) for kind in ("a", "b") for key in ("1", "2", "é", "🌾")]
            rows = [reminder(grain, name, "one", due=None) for grain in grains for name in ("x", "y")]
            due = reminder(CAT, "call", "one", due=0)
            await store(storage, *(put(row) for row in rows[::-1]), put(due))
            assert await storage.reminders_parked(ALL, 100) == rows
            assert await storage.reminders_parked(ALL, 3) == rows[:3]
            slot = slot_of(grains[0])
            assert await storage.reminders_parked([slot], 100) == [row for row in rows if row.slot == slot]
            assert await storage.reminders_parked([], 100) == []
            assert await storage.reminders_due(ALL, END, 100) == [due]
            await store(storage, *(remove(row) for row in rows))
            assert await storage.reminders_parked(ALL, 100) == []

    async def test_reminders_and_state_are_stored_together(self, open_storage: OpenFull) -> None:
        """Or neither: a set that loses its record keeps the old row, and one that loses its row keeps the record."""
        async with open_storage("svc") as storage:
            row = reminder(ANN, "call", "one")
            await storage.commit(ChangeSet(Stamp(SILO, 1), (write(ANN, b"1", None),), reminders=(put(row),)))
            later = reminder(ANN, "call", "two", due=9)
            await lost(storage.commit(ChangeSet(None, (write(ANN, b"2", "77"),), reminders=(put(later, "one"),))))
            await lost(storage.commit(ChangeSet(None, (write(ANN, b"2", "1"),), reminders=(put(later, "zero"),))))
            assert await payloads(storage, ANN) == [b"1"]
            assert await storage.reminders_of(ANN) == [row]
            held = await storage.read(ANN, STATE)
            await storage.commit(ChangeSet(None, (write(ANN, None, held.etag),), reminders=(remove(row),)))
            assert await payloads(storage, ANN) == [None]
            assert await storage.reminders_of(ANN) == []

    async def test_a_change_that_is_sent_again_is_applied_once(self, open_storage: OpenFull) -> None:
        """A row that has the new etag already shows it; a slow repetition does not revive a removed row."""
        first, second = reminder(ANN, "call", "one"), reminder(ANN, "call", "two")
        async with open_storage("svc") as storage:
            for _ in range(2):
                await store(storage, put(first))
            for _ in range(2):
                await store(storage, put(second, "one"))
            await lost(store(storage, put(first)))
            await store(storage, remove(second))
            await lost(store(storage, put(second, "one")))
            assert await storage.reminders_of(ANN) == []

    async def test_of_concurrent_changes_one_wins(self, open_storage: OpenFull) -> None:
        """Through two connections, as of the old and the new owner of a slot; a removal may win too."""
        async with open_storage("svc") as one, open_storage("svc") as two:
            for turn in range(15):
                row = reminder(ANN, "call", f"{turn}", due=turn)
                await store(one, put(row))
                changes = [put(reminder(ANN, "call", f"{turn}-{number}", due=100), row.etag) for number in range(5)]
                changes.append(remove(row))
                done = await asyncio.gather(
                    *(committed(store((one, two)[place % 2], change)) for place, change in enumerate(changes))
                )
                assert sum(done) == 1
                new = changes[done.index(True)].row
                assert await two.reminders_of(ANN) == ([] if new is None else [new])
                assert await two.reminders_due(ALL, END, 10) == ([] if new is None else [new])
                if new is not None:
                    await store(one, remove(new))

    async def test_a_dead_silo_changes_no_reminder(self, open_storage: OpenFull) -> None:
        """Otherwise it would push on a reminder that its new owner fires."""
        row = reminder(ANN, "call", "one")
        async with open_storage("svc") as storage:
            await store(storage, put(row))
            await storage.fence([OTHER])
            for change in (put(reminder(ANN, "call", "two"), "one"), remove(row), put(reminder(BOB, "call", "one"))):
                await fenced(storage.commit(ChangeSet(Stamp(OTHER, 1), reminders=(change,))))
            assert await storage.reminders_due(ALL, END, 10) == [row]

    async def test_reminders_survive_a_restart(self, open_storage: OpenFull) -> None:
        """Due and parked."""
        if not self.durable:
            return
        rows = [reminder(ANN, "a", "one", due=5), reminder(ANN, "b", "one", due=None)]
        async with open_storage("svc") as storage:
            await store(storage, *(put(row) for row in rows))
        async with open_storage("svc") as storage:
            assert await storage.reminders_of(ANN) == rows
            assert await storage.reminders_due(ALL, END, 10) == rows[:1]
            assert await storage.reminders_parked(ALL, 10) == rows[1:]

    async def test_the_clock_of_the_store(self, open_storage: OpenFull) -> None:
        """Microseconds of Unix time; it does not go back."""
        async with open_storage("svc") as storage:
            readings = [await storage.now() for _ in range(5)]
            assert readings == sorted(readings)
            assert abs(readings[0] / 1_000_000 - time.time()) < 60
