"""The contract of change sets that are sent again after a lost answer: part of `SetContract`."""

from __future__ import annotations

import msgspec

from grange.proto.ids import GrainId
from grange.storage.sets import ChangeSet, Check, Committed, Received, Stamp
from grange.testing.contracts.set_samples import (
    ANN,
    BOB,
    CAT,
    DAN,
    OTHER,
    SILO,
    STATE,
    OpenFull,
    contents,
    lost,
    payloads,
    put,
    reminder,
    remove,
    store,
    write,
    writes,
)


class RepeatCases:
    """A stamped set is applied once, however often it is sent. Inherited by `SetContract`."""

    async def test_a_set_that_is_sent_again_is_applied_once(self, open_storage: OpenFull) -> None:
        """TXS-20: it was stored and reported as failed; sent again it returns its etags, and a read shows it."""
        async with open_storage("svc") as storage:
            bob = await storage.write(BOB, STATE, b"0", None)
            changes = ChangeSet(
                Stamp(SILO, 1),
                (write(ANN, b"1", None), write(BOB, None, bob), write(DAN, None, None)),
                (Check(CAT, STATE, None),),
                (Received(ANN, "new", b"1", 600),),
                (put(reminder(ANN, "call", "call-1")),),
            )
            done = await storage.commit(changes)
            after = await contents(storage)
            for _ in range(2):
                assert await storage.commit(changes) == done
            await storage.write(CAT, STATE, b"1", None)
            assert await storage.commit(changes) == done, "a check of a set that is applied is not repeated"
            await storage.clear(CAT, STATE, "1")
            assert (await contents(storage))[1:3] == after[1:3]
            assert await payloads(storage, ANN, BOB) == [b"1", None]

    async def test_a_set_is_recognised_by_its_records(self, open_storage: OpenFull) -> None:
        """Also when its reminder is gone; not when another set has changed one of its records since."""
        row = reminder(ANN, "call", "call-1")
        async with open_storage("svc") as storage:
            changes = ChangeSet(Stamp(SILO, 1), (write(ANN, b"1", None), write(BOB, b"1", None)), reminders=(put(row),))
            done = await storage.commit(changes)
            await store(storage, remove(row))
            assert await storage.commit(changes) == done
            assert await storage.reminders_of(ANN) == []
            await storage.commit(writes(write(BOB, b"2", done.etags[1]), stamp=Stamp(OTHER, 1)))
            await lost(storage.commit(changes))
            assert await payloads(storage, ANN, BOB) == [b"1", b"2"]
            assert await storage.reminders_of(ANN) == []

    async def test_a_set_without_records_is_recognised_by_its_answers_and_reminders(
        self, open_storage: OpenFull
    ) -> None:
        """Both must be there: a set that shares only one of them is another set."""
        answer, row = Received(ANN, "new", b"1", 600), reminder(ANN, "call", "call-1")
        async with open_storage("svc") as storage:
            changes = ChangeSet(Stamp(SILO, 1), received=(answer,), reminders=(put(row),))
            await storage.commit(changes)
            assert await storage.commit(changes) == Committed(())
            await lost(storage.commit(ChangeSet(Stamp(SILO, 2), received=(answer,), reminders=(put(row),))))
            more = (answer, Received(ANN, "other", b"1", 600))
            await lost(storage.commit(ChangeSet(Stamp(SILO, 1), received=more, reminders=(put(row),))))
            assert await storage.received(ANN, "other") is None
            only = ChangeSet(None, reminders=(put(row),))
            assert await storage.commit(only) == Committed(())
            assert await storage.reminders_of(ANN) == [row]

    async def test_only_the_same_set_counts_as_sent_again(self, open_storage: OpenFull) -> None:
        """Not one with another number or writer, one without a stamp, or one with a record more."""
        async with open_storage("svc") as storage:
            changes = writes(write(ANN, b"1", None), write(BOB, b"1", None), stamp=Stamp(SILO, 1))
            await storage.commit(changes)
            for stamp in (Stamp(SILO, 2), Stamp(OTHER, 1), None):
                await lost(storage.commit(msgspec.structs.replace(changes, stamp=stamp)))
            larger = msgspec.structs.replace(changes, writes=(*changes.writes, write(CAT, b"1", None)))
            await lost(storage.commit(larger))
            assert await payloads(storage, CAT) == [None]
            tool = writes(write(DAN, b"1", None))
            await storage.commit(tool)
            await lost(storage.commit(tool), str(DAN))

    async def test_a_set_of_a_dead_writer_that_was_applied_is_told_so(self, open_storage: OpenFull) -> None:
        """Its outcome is true, although its writer was declared dead before it asked again."""
        async with open_storage("svc") as storage:
            changes = writes(write(ANN, b"1", None), write(BOB, b"1", None), stamp=Stamp(OTHER, 1))
            done = await storage.commit(changes)
            await storage.fence([OTHER])
            assert await storage.commit(changes) == done

    async def test_an_empty_set_succeeds(self, open_storage: OpenFull) -> None:
        """And the clear of a record that was never written: it stores nothing, and has no etag."""
        async with open_storage("svc") as storage:
            assert await storage.commit(ChangeSet(Stamp(SILO, 1))) == Committed(())
            nothing = writes(write(GrainId("account", "none"), None, None), stamp=Stamp(SILO, 2))
            for _ in range(2):
                assert await storage.commit(nothing) == Committed((None,))
            assert await storage.list_records("account") == []
