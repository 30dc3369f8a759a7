"""The contract of grain storage for dead writers and lost answers: part of `StorageContract`."""

from __future__ import annotations

import asyncio

from grange.errors import InconsistentStateError
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.provider import FenceRecords, GrainStorage, StateRecord
from grange.storage.sets import Stamp
from grange.testing.contracts.storage_samples import ANN, OpenStorage, fenced, json_of, refused

EARLIER, DEAD, LATER = (SiloAddress("10.0.0.1", 11111, 1_700_000_000_000 + number) for number in range(3))
NEIGHBOUR = SiloAddress("fd00::1", 11112, 1_700_000_000_001)


class FencingCases:
    """Rule R7: the store is the real fence. Inherited by `StorageContract`."""

    durable: bool

    async def test_a_record_tells_who_changed_it(self, open_storage: OpenStorage) -> None:
        """After a write, after a clear, and after a write without a stamp."""
        async with open_storage("svc") as storage:
            etag = await storage.write(ANN, "state", b"1", None, stamp=Stamp(DEAD, 7))
            assert (await storage.read(ANN, "state")).stamp == Stamp(DEAD, 7)
            cleared = await storage.clear(ANN, "state", etag, Stamp(NEIGHBOUR, 8))
            assert (await storage.read(ANN, "state")).stamp == Stamp(NEIGHBOUR, 8)
            await storage.write(ANN, "state", b"1", cleared)
            assert (await storage.read(ANN, "state")).stamp is None

    async def test_a_change_that_is_sent_again_is_applied_once(self, open_storage: OpenStorage) -> None:
        """After a lost answer: the store recognises the change by its stamp, and returns its etag again."""
        async with open_storage("svc") as storage:
            etag = await storage.write(ANN, "state", b"1", None, stamp=Stamp(DEAD, 1))
            assert await storage.write(ANN, "state", b"1", None, stamp=Stamp(DEAD, 1)) == etag
            second = await storage.write(ANN, "state", b"2", etag, stamp=Stamp(DEAD, 2))
            assert await storage.write(ANN, "state", b"2", etag, stamp=Stamp(DEAD, 2)) == second
            await refused(storage.write(ANN, "state", b"1", None, stamp=Stamp(DEAD, 1)), stored=second, given=None)
            cleared = await storage.clear(ANN, "state", second, Stamp(DEAD, 3))
            assert await storage.clear(ANN, "state", second, Stamp(DEAD, 3)) == cleared
            record = await storage.read(ANN, "state")
            assert (record.payload, record.etag) == (None, cleared)

    async def test_a_fenced_silo_changes_nothing(self, open_storage: OpenStorage) -> None:
        """Neither an old record nor a new one, with any etag; the error names the reason."""
        async with open_storage("svc") as storage:
            etag = await storage.write(ANN, "state", b"1", None, stamp=Stamp(DEAD, 1))
            for _ in range(2):
                await storage.fence([DEAD])
            await fenced(storage.write(ANN, "state", b"2", etag, stamp=Stamp(DEAD, 2)))
            await fenced(storage.write(ANN, "state", b"2", "77", stamp=Stamp(DEAD, 3)))
            await fenced(storage.write(GrainId("cart", "new"), "state", b"2", None, stamp=Stamp(DEAD, 4)))
            await fenced(storage.clear(ANN, "state", etag, Stamp(DEAD, 5)))
            assert await storage.read(GrainId("cart", "new"), "state") == StateRecord(None, None)
            record = await storage.read(ANN, "state")
            assert (json_of(record), record.etag) == (1, etag)

    async def test_a_fence_holds_one_endpoint_up_to_one_generation(self, open_storage: OpenStorage) -> None:
        """A fence also holds for earlier generations, but not for later ones, other endpoints or other services."""
        async with open_storage("svc") as storage, open_storage("other") as other:
            await storage.fence([DEAD])
            await storage.fence([EARLIER])
            await fenced(storage.write(ANN, "state", b"1", None, stamp=Stamp(EARLIER, 1)))
            await fenced(storage.write(ANN, "state", b"1", None, stamp=Stamp(DEAD, 1)))
            etag = await storage.write(ANN, "state", b"2", None, stamp=Stamp(LATER, 1))
            etag = await storage.write(ANN, "state", b"3", etag, stamp=Stamp(NEIGHBOUR, 1))
            await storage.write(ANN, "state", b"4", etag)
            await other.write(ANN, "state", b"1", None, stamp=Stamp(DEAD, 1))

    async def test_the_latest_fenced_generation_is_told(self, open_storage: OpenStorage) -> None:
        """A silo that starts takes a higher one. Of one endpoint and service only; a storage need not implement it."""
        async with open_storage("svc") as storage, open_storage("other") as other:
            if not isinstance(storage, FenceRecords) or not isinstance(other, FenceRecords):
                return
            assert await storage.fenced_generation(DEAD.endpoint) == 0
            await storage.fence([DEAD])
            await storage.fence([EARLIER])
            assert await storage.fenced_generation(DEAD.endpoint) == DEAD.generation
            assert await storage.fenced_generation(NEIGHBOUR.endpoint) == 0
            assert await other.fenced_generation(DEAD.endpoint) == 0

    async def test_many_silos_are_fenced_at_once(self, open_storage: OpenStorage) -> None:
        """In any order, an empty list, and by several silos that record the same deaths at the same time."""
        silos = [SiloAddress(f"10.0.1.{number}", 11111, number) for number in range(20)]
        async with open_storage("svc") as one, open_storage("svc") as two:
            await asyncio.gather(one.fence(silos), two.fence(silos[::-1]), one.fence([]), two.fence(silos[5:10]))
            for number, silo in enumerate(silos):
                grain_id = GrainId("many", str(number))
                await fenced(two.write(grain_id, "s", b"1", None, stamp=Stamp(silo, 1)))

    async def test_a_fence_outlives_a_restart(self, open_storage: OpenStorage) -> None:
        """A paused silo may resume after all other silos were restarted."""
        if not self.durable:
            return
        async with open_storage("svc") as storage:
            await storage.fence([DEAD])
        async with open_storage("svc") as storage:
            await fenced(storage.write(ANN, "state", b"1", None, stamp=Stamp(DEAD, 1)))

    async def test_nothing_is_changed_after_the_fence_has_returned(self, open_storage: OpenStorage) -> None:
        """Concurrent writes through another connection: a write not stored by then is never stored."""
        for turn in range(10):
            async with open_storage(f"svc{turn}") as dead, open_storage(f"svc{turn}") as live:
                writers = [asyncio.create_task(write_until_fenced(dead, number)) for number in range(10)]
                await asyncio.sleep(0.002 * turn)
                await live.fence([DEAD])
                grains = [GrainId("many", str(number)) for number in range(len(writers))]
                before = [await live.read(grain, "s") for grain in grains]
                await asyncio.gather(*writers)
                assert [await live.read(grain, "s") for grain in grains] == before


async def write_until_fenced(storage: GrainStorage, number: int) -> None:
    """Write as a dead silo that has not read its death, until a write is fenced."""
    etag: str | None = None
    for count in range(1_000_000):
        stamp = Stamp(DEAD, number * 1_000_000 + count)
        try:
            etag = await storage.write(GrainId("many", str(number)), "s", str(count).encode(), etag, stamp=stamp)
        except InconsistentStateError as error:
            if error.fenced:
                return
            raise
        await asyncio.sleep(0)
