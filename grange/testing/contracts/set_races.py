"""The contract of change sets that meet each other: part of `SetContract`."""

from __future__ import annotations

import asyncio
import random

from grange.errors import InconsistentStateError
from grange.proto.ids import GrainId
from grange.storage.sets import ChangeSet, Check, Received, Stamp
from grange.testing.contracts.set_samples import (
    ANN,
    BOB,
    OTHER,
    SILO,
    STATE,
    FullStorage,
    OpenFull,
    committed,
    payloads,
    put,
    reminder,
    write,
    writes,
)

ACCOUNTS = [GrainId("account", f"{number:02}") for number in range(8)]


class RaceCases:
    """Through two connections, as of two silos. Inherited by `SetContract`."""

    async def test_of_sets_on_the_same_records_one_wins(self, open_storage: OpenFull) -> None:
        """In any order of their items; the losers change nothing."""
        async with open_storage("svc") as one, open_storage("svc") as two:
            etags: tuple[str | None, ...] = (None,) * len(ACCOUNTS)
            for turn in range(15):
                sets: list[ChangeSet] = []
                for number in range(6):
                    items = [
                        write(account, f"[{turn},{number}]".encode(), etag)
                        for account, etag in zip(ACCOUNTS, etags, strict=True)
                    ]
                    random.Random(turn * 10 + number).shuffle(items)
                    sets.append(writes(*items, stamp=Stamp(SILO, turn * 10 + number)))
                won = await asyncio.gather(
                    *(committed((one, two)[number % 2].commit(changes)) for number, changes in enumerate(sets))
                )
                assert sum(won) == 1
                expected = f"[{turn},{won.index(True)}]".encode()
                assert await payloads(one, *ACCOUNTS) == [expected] * len(ACCOUNTS)
                etags = tuple([(await two.read(account, STATE)).etag for account in ACCOUNTS])

    async def test_sets_that_overlap_are_never_torn(self, open_storage: OpenFull) -> None:
        """Transfers between accounts: the sum stays, and each account counts the transfers that were acknowledged."""
        async with open_storage("svc") as one, open_storage("svc") as two:
            await one.commit(writes(*(write(account, b"[100,0]", None) for account in ACCOUNTS)))
            counts = await asyncio.gather(*(transfers((one, two)[number % 2], number) for number in range(8)))
            held = [account_of(payload) for payload in await payloads(one, *ACCOUNTS)]
            assert sum(amount for amount, _ in held) == 100 * len(ACCOUNTS)
            assert sum(changes for _, changes in held) == 2 * sum(counts)
            assert sum(counts) > 0

    async def test_two_sets_cannot_each_miss_the_other(self, open_storage: OpenFull) -> None:
        """Each writes one record and checks the other (write skew): at most one is applied."""
        async with open_storage("svc") as one, open_storage("svc") as two:
            ann, bob = await one.write(ANN, STATE, b"0", None), await one.write(BOB, STATE, b"0", None)
            for turn in range(20):
                first = ChangeSet(Stamp(SILO, turn), (write(ANN, b"1", ann),), (Check(BOB, STATE, bob),))
                second = ChangeSet(Stamp(OTHER, turn), (write(BOB, b"1", bob),), (Check(ANN, STATE, ann),))
                done = await asyncio.gather(committed(one.commit(first)), committed(two.commit(second)))
                assert sum(done) <= 1, "each set has written what the other one had checked"
                records = [await one.read(grain, STATE) for grain in (ANN, BOB)]
                ann, bob = records[0].etag or "", records[1].etag or ""

    async def test_of_many_answers_to_one_call_one_is_kept(self, open_storage: OpenFull) -> None:
        """Each set also counts: the record shows exactly the sets that kept an answer."""
        async with open_storage("svc") as one, open_storage("svc") as two:
            for turn in range(10):
                sets = [
                    ChangeSet(
                        Stamp((SILO, OTHER)[number % 2], turn * 10 + number),
                        (write(GrainId("many", f"{turn}-{number}"), b"1", None),),
                        received=(Received(ANN, f"call-{turn}", str(number).encode(), 600),),
                    )
                    for number in range(6)
                ]
                won = await asyncio.gather(
                    *(committed((one, two)[number % 2].commit(changes)) for number, changes in enumerate(sets))
                )
                assert sum(won) == 1
                assert await one.received(ANN, f"call-{turn}") == str(won.index(True)).encode()
                written = await payloads(two, *(GrainId("many", f"{turn}-{number}") for number in range(6)))
                assert [payload is not None for payload in written] == won

    async def test_sets_of_one_batch_end_each_for_itself(self, open_storage: OpenFull) -> None:
        """Sent at the same time: sets that hold are stored, the others not."""
        async with open_storage("svc") as storage:
            await storage.write(BOB, STATE, b"0", None)
            grains = [GrainId("many", f"{number:02}") for number in range(60)]
            sets = [
                ChangeSet(
                    Stamp(SILO, number),
                    (write(grain, b"1", None), write(GrainId("more", grain.key), b"1", None)),
                    (Check(BOB, STATE, "77"),) if number % 5 == 1 else (),
                    (Received(BOB, "same", b"1", 600),) if number % 5 == 2 else (),
                    (put(reminder(BOB, "same", f"etag-{number}")),) if number % 5 == 3 else (),
                )
                for number, grain in enumerate(grains)
            ]
            done = await asyncio.gather(*(committed(storage.commit(changes)) for changes in sets))
            assert [sum(done[kind::5]) for kind in range(5)] == [12, 0, 1, 1, 12]
            for kind in ("many", "more"):
                held = await payloads(storage, *(GrainId(kind, grain.key) for grain in grains))
                assert [payload is not None for payload in held] == done

    async def test_a_reader_sees_a_record_of_one_set(self, open_storage: OpenFull) -> None:
        """TXS-18: payload, etag and stamp of one write, never a mix, while another silo writes."""
        async with open_storage("svc") as one, open_storage("svc") as two:
            ended = asyncio.Event()

            async def write_on() -> None:
                etag: str | None = None
                for number in range(60):
                    done = await one.commit(writes(write(ANN, str(number).encode(), etag), stamp=Stamp(SILO, number)))
                    (etag,) = done.etags
                ended.set()

            writer = asyncio.create_task(write_on())
            while not ended.is_set() and not writer.done():
                record = await two.read(ANN, STATE)
                if record.payload is not None:
                    assert record.stamp == Stamp(SILO, int(record.payload))
                await asyncio.sleep(0)
            await writer

    async def test_a_cancelled_commit_is_whole_or_nothing(self, open_storage: OpenFull) -> None:
        """Its caller does not learn which; the storage stays usable."""
        async with open_storage("svc") as storage:
            for turns in range(12):
                pair = [GrainId("pair", f"{turns}-{number}") for number in range(2)]
                change = asyncio.ensure_future(storage.commit(writes(*(write(grain, b"1", None) for grain in pair))))
                for _ in range(turns):
                    await asyncio.sleep(0)
                change.cancel()
                await asyncio.wait([change])
                first, second = await payloads(storage, *pair)
                assert first == second or await payloads(storage, *pair) == [b"1", b"1"]

    async def test_no_set_of_a_dead_silo_is_stored_after_the_fence_has_returned(self, open_storage: OpenFull) -> None:
        """Neither whole nor in part."""
        pairs = [[GrainId("pair", f"{number}-{side}") for side in "lr"] for number in range(6)]
        for turn in range(5):
            async with open_storage(f"svc{turn}") as dead, open_storage(f"svc{turn}") as live:
                writers = [asyncio.create_task(commit_until_fenced(dead, pair, at)) for at, pair in enumerate(pairs)]
                await asyncio.sleep(0.004 * turn)
                await live.fence([SILO])
                before = [await payloads(live, *pair) for pair in pairs]
                await asyncio.gather(*writers)
                assert [await payloads(live, *pair) for pair in pairs] == before
                assert all(left == right for left, right in before)


async def transfers(storage: FullStorage, number: int) -> int:
    """Move amounts between accounts; the number of transfers that were stored."""
    chance, done = random.Random(number), 0
    for turn in range(12):
        source, target = chance.sample(ACCOUNTS, 2)
        records = [await storage.read(account, STATE) for account in (source, target)]
        (left, changes), (right, more) = (account_of(record.payload) for record in records)
        amount = chance.randint(1, 20)
        changed = writes(
            write(source, f"[{left - amount},{changes + 1}]".encode(), records[0].etag),
            write(target, f"[{right + amount},{more + 1}]".encode(), records[1].etag),
            stamp=Stamp(SILO, number * 1_000 + turn),
        )
        done += await committed(storage.commit(changed))
    return done


async def commit_until_fenced(storage: FullStorage, pair: list[GrainId], at: int) -> None:
    """Write both records as a dead silo that has not read its death, until a set is fenced."""
    etags: tuple[str | None, ...] = (None, None)
    for count in range(1_000_000):
        items = (write(grain, str(count).encode(), etag) for grain, etag in zip(pair, etags, strict=True))
        try:
            etags = (await storage.commit(writes(*items, stamp=Stamp(SILO, at * 1_000_000 + count)))).etags
        except InconsistentStateError as error:
            if error.fenced:
                return
            raise
        await asyncio.sleep(0)


def account_of(payload: bytes | None) -> tuple[int, int]:
    """The two numbers of an account: its amount, and how often it was changed."""
    assert payload is not None
    amount, changes = payload.decode()[1:-1].split(",")
    return int(amount), int(changes)
