"""The contract of claims: the newest reader of a record is its only writer.

Subclass `ClaimContract` and provide the fixture `open_storage`.
"""

from __future__ import annotations

import asyncio

from grange.errors import InconsistentStateError
from grange.proto.ids import SiloAddress
from grange.storage.provider import StateRecord
from grange.storage.sets import ChangeSet, Check, Stamp
from grange.testing.contracts.set_samples import (
    ANN,
    BOB,
    OTHER,
    SILO,
    STATE,
    FullStorage,
    OpenFull,
    committed,
    lost,
    payloads,
    refusal,
    write,
    writes,
)

OLD, NEW = 1, 2**63 - 1
"""A claim is a number of 63 bits."""


class ClaimContract:
    """Fixture to provide: `open_storage`, an `OpenFull` on a database that is empty when a test starts."""

    durable = True
    """True if records outlive the provider that wrote them; False skips the restart case."""

    async def test_a_claim_is_a_read(self, open_storage: OpenFull) -> None:
        """It returns the whole record, with the new claim, and leaves the etag."""
        async with open_storage("svc") as storage:
            etag = await storage.write(ANN, STATE, b'{"a": 1e2}', None, schema=3, stamp=Stamp(SILO, 1))
            record = StateRecord(b'{"a": 1e2}', etag, 3, Stamp(SILO, 1))
            assert await storage.read(ANN, STATE) == record
            claimed = StateRecord(b'{"a": 1e2}', etag, 3, Stamp(SILO, 1), NEW)
            for _ in range(2):
                assert await storage.claim(ANN, STATE, NEW, SILO) == claimed
            assert await storage.read(ANN, STATE) == claimed

    async def test_only_the_newest_claim_can_write(self, open_storage: OpenFull) -> None:
        """I2: the etag alone would let the older one write, since a claim changes no etag."""
        async with open_storage("svc") as old, open_storage("svc") as new:
            await old.write(ANN, STATE, b"0", None)
            first = await old.claim(ANN, STATE, OLD, SILO)
            (etag,) = (await old.commit(writes(write(ANN, b"1", first.etag, claim=OLD)))).etags
            second = await new.claim(ANN, STATE, NEW, OTHER)
            assert second.etag == etag
            error = await lost(old.commit(writes(write(ANN, b"2", etag, claim=OLD))), str(ANN))
            assert "newer activation" in str(error)
            await lost(old.commit(writes(write(ANN, None, etag, claim=OLD))), str(ANN))
            assert await old.read(ANN, STATE) == second
            done = await new.commit(writes(write(ANN, b"3", etag, claim=NEW)))
            assert await payloads(old, ANN) == [b"3"]
            await lost(old.commit(writes(write(ANN, b"4", done.etags[0], claim=OLD))))

    async def test_a_record_that_does_not_exist_cannot_be_claimed(self, open_storage: OpenFull) -> None:
        """Nothing is stored. The first write must find no record, and sets its claim."""
        async with open_storage("svc") as storage:
            absent = StateRecord(None, None)
            assert await storage.claim(ANN, STATE, OLD, SILO) == absent
            assert await storage.claim(ANN, STATE, NEW) == absent
            assert await storage.read(ANN, STATE) == absent
            assert await storage.list_records(ANN.type) == []
            (etag,) = (await storage.commit(writes(write(ANN, b"1", None, claim=OLD)))).etags
            assert (await storage.read(ANN, STATE)).claim == OLD
            await lost(storage.commit(writes(write(ANN, b"2", None, claim=NEW))))
            await lost(storage.commit(writes(write(ANN, b"2", etag, claim=NEW))))
            await storage.commit(writes(write(ANN, b"2", etag, claim=OLD)))

    async def test_a_write_without_a_claim_keeps_the_claim(self, open_storage: OpenFull) -> None:
        """Of a tool, or of a silo that claims nothing. A record that was never claimed refuses a write with a claim."""
        async with open_storage("svc") as storage:
            etag: str | None = await storage.write(ANN, STATE, b"0", None)
            await lost(storage.commit(writes(write(ANN, b"1", etag, claim=OLD))))
            await storage.claim(ANN, STATE, OLD)
            etag = await storage.write(ANN, STATE, b"1", etag)
            assert (await storage.read(ANN, STATE)).claim == OLD
            await storage.commit(writes(write(ANN, b"2", etag, claim=OLD)))

    async def test_a_clear_keeps_the_claim(self, open_storage: OpenFull) -> None:
        """An activation that was replaced does not write into the record that the newer one has cleared."""
        async with open_storage("svc") as storage:
            await storage.write(ANN, STATE, b"0", None)
            await storage.claim(ANN, STATE, OLD)
            held = await storage.claim(ANN, STATE, NEW)
            (etag,) = (await storage.commit(writes(write(ANN, None, held.etag, claim=NEW)))).etags
            record = await storage.read(ANN, STATE)
            assert (record.payload, record.etag, record.claim) == (None, etag, NEW)
            await lost(storage.commit(writes(write(ANN, b"1", etag, claim=OLD))))
            (etag,) = (await storage.commit(writes(write(ANN, b"1", etag, claim=NEW)))).etags
            assert await storage.claim(ANN, STATE, OLD) == StateRecord(b"1", etag, 1, None, OLD)

    async def test_a_dead_silo_cannot_claim(self, open_storage: OpenFull) -> None:
        """Otherwise it would take the record from the silo that runs the grain now. Its repetition is refused too."""
        async with open_storage("svc") as storage:
            await storage.write(ANN, STATE, b"0", None)
            held = await storage.claim(ANN, STATE, NEW, OTHER)
            await storage.fence([SILO])
            for writer in (SILO, SiloAddress(SILO.host, SILO.port, SILO.generation - 1)):
                for grain in (ANN, BOB):
                    error = await refusal(storage.claim(grain, STATE, OLD, writer))
                    assert isinstance(error, InconsistentStateError), error
                    assert error.fenced
            assert await storage.read(ANN, STATE) == held
            later = SiloAddress(SILO.host, SILO.port, SILO.generation + 1)
            assert (await storage.claim(ANN, STATE, OLD, later)).claim == OLD
            assert (await storage.claim(ANN, STATE, NEW)).claim == NEW

    async def test_claims_in_sets(self, open_storage: OpenFull) -> None:
        """One record whose claim is gone refuses the whole set; a check compares a claim too."""
        async with open_storage("svc") as storage:
            ann, bob = await storage.write(ANN, STATE, b"0", None), await storage.write(BOB, STATE, b"0", None)
            await storage.claim(ANN, STATE, NEW)
            await storage.claim(BOB, STATE, NEW)
            mine, theirs = write(ANN, b"1", ann, claim=NEW), write(BOB, b"1", bob, claim=OLD)
            await lost(storage.commit(writes(mine, theirs)), str(BOB))
            await lost(storage.commit(ChangeSet(None, (mine,), (Check(BOB, STATE, bob, OLD),))), str(BOB))
            assert await payloads(storage, ANN, BOB) == [b"0", b"0"]
            await storage.commit(ChangeSet(None, (mine,), (Check(BOB, STATE, bob, NEW),)))
            assert await payloads(storage, ANN, BOB) == [b"1", b"0"]

    async def test_a_write_that_is_sent_again_is_recognised_after_a_claim(self, open_storage: OpenFull) -> None:
        """It was applied while its claim was the newest: its outcome is true."""
        async with open_storage("svc") as storage:
            await storage.write(ANN, STATE, b"0", None)
            held = await storage.claim(ANN, STATE, OLD)
            changes = writes(write(ANN, b"1", held.etag, claim=OLD), stamp=Stamp(SILO, 1))
            done = await storage.commit(changes)
            await storage.claim(ANN, STATE, NEW)
            assert await storage.commit(changes) == done
            assert (await storage.read(ANN, STATE)).claim == NEW

    async def test_a_claim_survives_a_restart(self, open_storage: OpenFull) -> None:
        """A paused activation may resume after all other silos were restarted."""
        if not self.durable:
            return
        async with open_storage("svc") as storage:
            etag = await storage.write(ANN, STATE, b"0", None)
            await storage.claim(ANN, STATE, NEW)
        async with open_storage("svc") as storage:
            await lost(storage.commit(writes(write(ANN, b"1", etag, claim=OLD))))
            await storage.commit(writes(write(ANN, b"1", etag, claim=NEW)))

    async def test_claims_race_with_writes(self, open_storage: OpenFull) -> None:
        """I2: from the moment that a claim has returned, no older activation writes; what the claim read stays."""
        async with open_storage("svc") as old, open_storage("svc") as new:
            await old.write(ANN, STATE, b"0", None)
            for turn in range(12):
                claim = 2 * turn + 1
                held = await old.claim(ANN, STATE, claim, SILO)
                writer = asyncio.create_task(write_while_claimed(old, held, claim))
                for _ in range(turn):
                    await asyncio.sleep(0.001)
                taken = await new.claim(ANN, STATE, claim + 1, OTHER)
                await writer
                assert await new.read(ANN, STATE) == taken, "an older activation has written after a newer one read"

    async def test_of_many_claims_one_is_the_newest(self, open_storage: OpenFull) -> None:
        """Taken at once through two connections: exactly one of the claimers can write."""
        async with open_storage("svc") as one, open_storage("svc") as two:
            etag: str | None = await one.write(ANN, STATE, b"0", None)
            for turn in range(10):
                numbers = range(turn * 8 + 1, turn * 8 + 9)
                await asyncio.gather(*((one, two)[number % 2].claim(ANN, STATE, number) for number in numbers))
                done = [
                    await committed(one.commit(writes(write(ANN, b"1", etag, claim=number), stamp=Stamp(SILO, number))))
                    for number in numbers
                ]
                assert sum(done) == 1
                record = await two.read(ANN, STATE)
                assert record.claim == numbers[done.index(True)]
                etag = record.etag


async def write_while_claimed(storage: FullStorage, held: StateRecord, claim: int) -> None:
    """Write as an activation does, until a newer one has claimed the record."""
    etag = held.etag
    for number in range(1_000_000):
        change = writes(write(ANN, str(number).encode(), etag, claim=claim))
        try:
            (etag,) = (await storage.commit(change)).etags
        except InconsistentStateError:
            return
        await asyncio.sleep(0)
