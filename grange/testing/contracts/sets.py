"""The contract of change sets. Subclass `SetContract` and provide the fixture `open_storage`."""

from __future__ import annotations

import asyncio

import msgspec

from grange.errors import InconsistentStateError, UniqueValueError
from grange.proto.ids import GrainId
from grange.storage.provider import StateRecord
from grange.storage.sets import (
    ChangeSet,
    Check,
    Committed,
    IndexEntry,
    Received,
    ReminderChange,
    Stamp,
    Write,
)
from grange.testing.contracts.set_limits import LimitCases
from grange.testing.contracts.set_races import RaceCases
from grange.testing.contracts.set_repeats import RepeatCases
from grange.testing.contracts.set_samples import (
    ANN,
    BOB,
    CAT,
    DAN,
    OTHER,
    SILO,
    STATE,
    FullStorage,
    OpenFull,
    contents,
    lost,
    payloads,
    put,
    refusal,
    reminder,
    remove,
    write,
    writes,
)

CALL = reminder(ANN, "call", "call-1")


class SetContract(RepeatCases, RaceCases, LimitCases):
    """Fixture to provide: `open_storage`, an `OpenFull` on a database that is empty when a test starts."""

    async def test_a_set_stores_all_of_its_items(self, open_storage: OpenFull) -> None:
        """Records of several grains, a clear, a check, an answer and a reminder; new etags come in the order given."""
        async with open_storage("svc") as storage:
            (dan,) = (await storage.commit(writes(write(DAN, b"0", None)))).etags
            cleared = await storage.write(CAT, STATE, b"0", None)
            changes = ChangeSet(
                Stamp(SILO, 1),
                writes=(write(BOB, b"2", None), write(CAT, None, cleared), write(ANN, b"1", None)),
                checks=(Check(DAN, STATE, dan),),
                received=(Received(ANN, "new", b'{"paid": 1}', 60),),
                reminders=(put(CALL),),
            )
            done = await storage.commit(changes)
            records = [await storage.read(grain, STATE) for grain in (BOB, CAT, ANN)]
            assert tuple(record.etag for record in records) == done.etags
            assert [record.payload for record in records] == [b"2", None, b"1"]
            assert [record.stamp for record in records] == [Stamp(SILO, 1)] * 3
            assert await storage.received(ANN, "new") == b'{"paid": 1}'
            assert await storage.reminders_of(ANN) == [CALL]

    async def test_a_set_with_one_failing_item_stores_nothing(self, open_storage: OpenFull) -> None:
        """Every kind of failing item, before and behind items that hold; the error names the item."""
        async with open_storage("svc") as storage:
            etags = await prepare(storage)
            before = await contents(storage)
            for number, (failing, name) in enumerate(failing_sets(etags)):
                for front in (True, False):
                    changes = joined(failing, good(etags, failing, number), front=front)
                    await lost(storage.commit(changes), name)
                    assert await contents(storage) == before, f"applied in part: {failing}"
            done = await storage.commit(good(etags, ChangeSet(None), 99))
            assert len(done.etags) == 2
            assert await storage.received(BOB, "new") == b"{}"

    async def test_a_set_with_a_fenced_writer_stores_nothing(self, open_storage: OpenFull) -> None:
        """Any writer of the set: its own stamp, or that of one write; also when other items do not hold."""
        async with open_storage("svc") as storage:
            etags = await prepare(storage)
            await storage.fence([OTHER])
            before = await contents(storage)
            dead = Stamp(OTHER, 7)
            sets = [
                ChangeSet(Stamp(SILO, 1), (write(ANN, b"2", etags[0]), of(dead, write(BOB, b"2", etags[1])))),
                ChangeSet(Stamp(SILO, 2), (of(dead, write(BOB, b"2", etags[1])), write(ANN, b"2", etags[0]))),
                ChangeSet(dead, (of(Stamp(SILO, 3), write(ANN, b"2", etags[0])), write(BOB, b"2", etags[1]))),
                ChangeSet(dead, (write(ANN, b"2", "77"),)),
                ChangeSet(dead, checks=(Check(ANN, STATE, etags[0]),)),
                ChangeSet(dead, received=(Received(ANN, "new", b"{}", 60),)),
                ChangeSet(dead, reminders=(put(reminder(BOB, "call", "bob-1")),)),
                ChangeSet(dead, (write(GrainId("account", "new"), None, None),)),
            ]
            for changes in sets:
                error = await refusal(storage.commit(changes))
                assert isinstance(error, InconsistentStateError), error
                assert error.fenced, changes
                assert await contents(storage) == before
            await storage.commit(
                ChangeSet(None, (write(ANN, b"2", etags[0]),), received=(Received(ANN, "x", b"1", 9),))
            )

    async def test_each_record_carries_its_own_stamp(self, open_storage: OpenFull) -> None:
        """Of the write, else of the set: one set may hold the writes of several silos."""
        async with open_storage("svc") as storage:
            await storage.commit(
                ChangeSet(Stamp(SILO, 1), (write(ANN, b"1", None), of(Stamp(OTHER, 5), write(BOB, b"1", None))))
            )
            assert (await storage.read(ANN, STATE)).stamp == Stamp(SILO, 1)
            assert (await storage.read(BOB, STATE)).stamp == Stamp(OTHER, 5)
            await storage.commit(ChangeSet(None, (write(CAT, b"1", None), of(Stamp(OTHER, 6), write(DAN, b"1", None)))))
            assert (await storage.read(CAT, STATE)).stamp is None
            assert (await storage.read(DAN, STATE)).stamp == Stamp(OTHER, 6)

    async def test_checks_change_nothing(self, open_storage: OpenFull) -> None:
        """A set of checks succeeds while they hold, also of a record that must be absent, and fails afterwards."""
        async with open_storage("svc") as storage:
            etag = await storage.write(ANN, STATE, b"1", None)
            before = await contents(storage)
            checks = ChangeSet(Stamp(SILO, 1), checks=(Check(ANN, STATE, etag), Check(BOB, STATE, None)))
            for _ in range(2):
                assert await storage.commit(checks) == Committed(())
            assert await contents(storage) == before
            cleared = await storage.clear(ANN, STATE, etag)
            await lost(storage.commit(checks), str(ANN))
            await storage.commit(ChangeSet(None, checks=(Check(ANN, STATE, cleared),)))
            await lost(storage.commit(ChangeSet(None, checks=(Check(ANN, STATE, None),))), str(ANN))

    async def test_an_answer_is_kept_once(self, open_storage: OpenFull) -> None:
        """Byte for byte; of one grain and id; a second one is refused, and the first is kept."""
        answer = b'{"z": 1e16, "a": [" "]}\n'
        async with open_storage("svc") as storage, open_storage("other") as other:
            await storage.commit(ChangeSet(Stamp(SILO, 1), received=(Received(ANN, "a/b:c%", answer, 60),)))
            assert await storage.received(ANN, "a/b:c%") == answer
            for stamp in (Stamp(SILO, 2), None):
                again = ChangeSet(stamp, received=(Received(ANN, "a/b:c%", b"2", 60),))
                await lost(storage.commit(again), "a/b:c%")
            assert await storage.received(ANN, "a/b:c%") == answer
            assert await storage.received(BOB, "a/b:c%") is None
            assert await other.received(ANN, "a/b:c%") is None
            await storage.commit(ChangeSet(Stamp(SILO, 3), received=(Received(BOB, "a/b:c%", b"3", 60),)))
            assert await storage.received(ANN, "a/b:c%") == answer

    async def test_an_answer_expires_by_the_clock_of_the_store(self, open_storage: OpenFull) -> None:
        """Then it is absent, and the id may be used again."""
        async with open_storage("svc") as storage:
            kept = (Received(ANN, "short", b"1", 0.2), Received(ANN, "long", b"1", 600))
            await storage.commit(ChangeSet(Stamp(SILO, 1), received=kept))
            assert await storage.received(ANN, "long") == b"1"
            for _ in range(200):  # the clock of the store is not ours to turn
                if await storage.received(ANN, "short") is None:
                    break
                await asyncio.sleep(0.05)
            await storage.commit(ChangeSet(Stamp(SILO, 2), received=(Received(ANN, "short", b"2", 600),)))
            assert await storage.received(ANN, "short") == b"2"
            assert await storage.received(ANN, "long") == b"1"

    async def test_a_read_shows_one_set(self, open_storage: OpenFull) -> None:
        """TXS-02 and TXS-15: each store has a new etag; a stale writer reads, and its next set is what others read."""
        async with open_storage("svc") as one, open_storage("svc") as two:
            (first,) = (await one.commit(writes(write(ANN, b"1", None), stamp=Stamp(SILO, 1)))).etags
            (second,) = (await one.commit(writes(write(ANN, b"1", first), stamp=Stamp(SILO, 2)))).etags
            assert first != second
            await lost(two.commit(writes(write(ANN, b"2", first), stamp=Stamp(OTHER, 1))), str(ANN))
            read = await two.read(ANN, STATE)
            await two.commit(writes(write(ANN, b"2", read.etag), stamp=Stamp(OTHER, 2)))
            assert await payloads(one, ANN) == [b"2"]

    async def test_wrong_etags_change_nothing(self, open_storage: OpenFull) -> None:
        """TXS-03 and TXS-16: also None after the first store; the set is refused until its writer has read again."""
        async with open_storage("svc") as storage:
            etag = await storage.write(ANN, STATE, b"1", None)
            before = await storage.read(ANN, STATE)
            for wrong in (None, "77", "0", "", "made-up", "9" * 40):
                for _ in range(2):
                    error = await lost(storage.commit(writes(write(ANN, b"2", wrong), write(BOB, b"2", None))))
                    assert (error.stored, error.given) == (etag, wrong)
                    assert await storage.read(ANN, STATE) == before
                    assert await storage.read(BOB, STATE) == StateRecord(None, None)

    async def test_a_value_is_unique_within_a_set(self, open_storage: OpenFull) -> None:
        """Two records of one set; and two records that exchange their values in one set, which is allowed."""
        async with open_storage("svc") as storage:
            x, y = (IndexEntry("mail", value, unique=True) for value in "xy")
            error = await refusal(storage.commit(writes(write(ANN, b"1", None, x), write(BOB, b"1", None, x))))
            assert isinstance(error, UniqueValueError), error
            assert await payloads(storage, ANN, BOB) == [None, None]
            ann, bob = (await storage.commit(writes(write(ANN, b"1", None, x), write(BOB, b"1", None, y)))).etags
            ann, bob = (await storage.commit(writes(write(ANN, b"2", ann, y), write(BOB, b"2", bob, x)))).etags
            await storage.commit(writes(write(BOB, None, bob), write(ANN, b"3", ann, x), write(CAT, b"3", None, y)))
            assert await payloads(storage, ANN, BOB, CAT) == [b"3", None, b"3"]


async def prepare(storage: FullStorage) -> tuple[str, str]:
    """Records of Ann, Bob and (cleared) Cat, none of Dan; an answer and a reminder of Ann."""
    await storage.clear(CAT, STATE, await storage.write(CAT, STATE, b"0", None))
    mail = (IndexEntry("city", "Rome"), IndexEntry("mail", "ann@example", unique=True))
    items = write(ANN, b"1", None, *mail), write(BOB, b"1", None, IndexEntry("city", "Oslo"))
    done = await storage.commit(
        ChangeSet(Stamp(SILO, 1), items, received=(Received(ANN, "old", b"1", 600),), reminders=(put(CALL),))
    )
    ann, bob = done.etags
    assert ann is not None
    assert bob is not None
    return ann, bob


def good(etags: tuple[str, str], failing: ChangeSet, number: int) -> ChangeSet:
    """Items that hold: of each kind one, but none of a record that the failing set names."""
    named = {item.grain_id for item in failing.writes} | {item.grain_id for item in failing.checks}
    candidates = (
        write(ANN, b"2", etags[0], IndexEntry("city", "Pisa")),
        write(BOB, None, etags[1]),
        write(DAN, b"2", None, IndexEntry("mail", "dan@example", unique=True)),
    )
    free = [item for item in candidates if item.grain_id not in named][:2]
    rest = next(item for item in (*candidates[2:], *candidates) if item not in free)
    checks = () if rest.grain_id in named else (Check(rest.grain_id, STATE, rest.etag),)
    return ChangeSet(
        Stamp(SILO, 100 + number),
        tuple(free),
        checks,
        (Received(BOB, "new", b"{}", 60),),
        (put(reminder(BOB, "call", f"bob-{number}")),),
    )


def failing_sets(etags: tuple[str, str]) -> list[tuple[ChangeSet, str]]:
    """Each has one item that does not hold, with what its error must name."""
    ann, bob = etags
    stale = reminder(ANN, "call", "call-2")
    records: list[Write | Check] = [
        write(ANN, b"2", None),
        write(ANN, b"2", "77"),
        write(ANN, b"2", ann, claim=5),
        write(ANN, None, None),
        write(ANN, None, "77"),
        write(DAN, b"2", "1"),
        write(DAN, None, "1"),
        write(CAT, b"2", None),
        Check(ANN, STATE, "77"),
        Check(ANN, STATE, None),
        Check(BOB, STATE, bob, claim=5),
        Check(DAN, STATE, "1"),
        Check(CAT, STATE, None),
    ]
    changes: list[ReminderChange] = [
        put(stale),
        put(stale, held="other"),
        put(reminder(DAN, "call", "dan-1"), held="call-1"),
        remove(stale),
        ReminderChange(ANN, "call", None, None),
        ReminderChange(ANN, "none", "call-1", None),
    ]
    sets = [
        (ChangeSet(None, (item,)) if isinstance(item, Write) else ChangeSet(None, checks=(item,)), str(item.grain_id))
        for item in records
    ]
    sets.append((ChangeSet(None, received=(Received(ANN, "old", b"2", 60),)), "old"))
    return sets + [(ChangeSet(None, reminders=(item,)), item.name) for item in changes]


def joined(failing: ChangeSet, rest: ChangeSet, front: bool) -> ChangeSet:
    """One set of the items of both, with the stamp of `rest`."""
    one, two = (failing, rest) if front else (rest, failing)
    return ChangeSet(
        rest.stamp,
        one.writes + two.writes,
        one.checks + two.checks,
        one.received + two.received,
        one.reminders + two.reminders,
    )


def of(stamp: Stamp, item: Write) -> Write:
    """The write with a stamp of its own."""
    return msgspec.structs.replace(item, stamp=stamp)
