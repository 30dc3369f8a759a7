"""The contract of lists and queries. Subclass `QueryContract` and provide the fixture `open_storage`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

import msgspec

from grange.errors import InconsistentStateError, StorageError, UniqueValueError
from grange.proto.ids import GrainId
from grange.storage.provider import Query, RecordName
from grange.storage.sets import IndexEntry, Stamp, Write
from grange.testing.contracts.query_lists import ListCases
from grange.testing.contracts.set_limits import ODD, UNSTORABLE
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
    payloads,
    refusal,
    write,
    writes,
)

NUMBERS = (-1e300, -(2**53), -2, -1.5, -5e-324, 0, 5e-324, 0.1, 1, 1.5, 2, 10, 2**53, 1e300)
TEXTS = ("", " ", "1", "10", "2", "A", "B", "a", "aa", "b", "e\u0301", "é", "я", "\uffff", "🌾", "\U0010ffff")
"""In order of code points."""


class QueryContract(ListCases):
    """Fixture to provide: `open_storage`, an `OpenFull` on a database that is empty when a test starts."""

    async def test_records_are_found_by_the_value_of_a_field(self, open_storage: OpenFull) -> None:
        """Of one grain type and state name; texts exactly, and a number is not a text."""
        async with open_storage("svc") as storage, open_storage("other") as other:
            await store(storage, ANN, city="Rome", age=7)
            await store(storage, BOB, city="Rome", age=8)
            await store(storage, CAT, city="rome", age="7")
            await store(storage, GrainId("cart", "ann"), city="Rome", age=7)
            await storage.commit(writes(Write(DAN, "else", b"1", None, index=(IndexEntry("city", "Rome"),))))
            await store(other, DAN, city="Rome", age=7)
            assert await found(storage, city="Rome") == ["ann", "bob"]
            assert await found(storage, city="rome") == ["cat"]
            assert await found(storage, age=7) == ["ann"]
            assert await found(storage, age=7.0) == ["ann"]
            assert await found(storage, age="7") == ["cat"]
            for value in ("", "Rom", "Rome ", "ROME", "%", "*", 7):
                assert await found(storage, city=value) == []
            assert await found(storage, country="Rome") == []
            assert await storage.find(Query(grain_type="cart", state=STATE, where={"city": "Rome"})) == ["ann"]
            assert await storage.find(Query(grain_type="account", state="else", where={"city": "Rome"})) == ["dan"]

    async def test_records_are_found_by_several_fields(self, open_storage: OpenFull) -> None:
        """All of them must hold; a field that no record has finds nothing."""
        async with open_storage("svc") as storage:
            for number in range(12):
                key = GrainId("account", f"{number:02}")
                await store(storage, key, kind="even" if number % 2 == 0 else "odd", third=number % 3, vip="yes")
            assert await found(storage, kind="even", third=0) == ["00", "06"]
            assert await found(storage, kind="odd", third=1, vip="yes") == ["01", "07"]
            assert await found(storage, kind="odd", vip="no") == []
            assert await found(storage, kind="odd", none=1) == []
            query = Query(grain_type="account", state=STATE, where={"kind": "odd", "vip": "yes"}, after="03", limit=2)
            assert await storage.find(query) == ["05", "07"]

    async def test_results_are_ordered_by_a_field(self, open_storage: OpenFull) -> None:
        """Numbers as numbers, texts by code points, both ways, with a filter too; without the field: left out."""
        async with open_storage("svc") as storage:
            samples: dict[str, Sequence[str | float]] = {"number": NUMBERS, "text": TEXTS}
            for name, values in samples.items():
                for place, value in enumerate(values):
                    key = GrainId("account", f"{name}-{(place * 11) % len(values):02}")
                    index = (
                        IndexEntry(name, value),
                        IndexEntry("place", place),
                        IndexEntry("half", f"{name}{place % 2}"),
                    )
                    await storage.commit(writes(write(key, b"1", None, *index)))
                expected = [f"{name}-{(place * 11) % len(values):02}" for place in range(len(values))]
                assert await ordered(storage, name) == expected
                assert await ordered(storage, name, descending=True) == expected[::-1]
                odd = {"half": f"{name}1"}
                assert await ordered(storage, name, where=odd) == expected[1::2]
                assert await ordered(storage, name, where=odd, descending=True) == expected[1::2][::-1]
            assert await ordered(storage, "none") == []
            assert await ordered(storage, "number", where={"half": "text1"}) == []

    async def test_equal_values_are_ordered_by_key(self, open_storage: OpenFull) -> None:
        """In both directions; `offset` and `limit` cut any part of the list, also inside equal values."""
        async with open_storage("svc") as storage:
            rows = [(f"{number:02}", number // 4) for number in range(20)]
            for key, value in rows[::-1]:
                await store(storage, GrainId("account", key), number=value, text=f"t{value}", all="yes")
            upwards = [key for key, _ in rows]
            downwards = [key for key, _ in sorted(rows, key=lambda row: (-row[1], row[0]))]
            for field in ("number", "text"):
                for offset, limit in ((0, 20), (0, 5), (3, 6), (5, 1), (7, 9), (19, 5), (20, 5), (50, 1)):
                    part = slice(offset, offset + limit)
                    query = Query(grain_type="account", state=STATE, order_by=field, offset=offset, limit=limit)
                    back = msgspec.structs.replace(query, descending=True)
                    both = {"all": "yes"}
                    assert await storage.find(query) == upwards[part]
                    assert await storage.find(msgspec.structs.replace(query, where=both)) == upwards[part]
                    assert await storage.find(back) == downwards[part]
                    assert await storage.find(msgspec.structs.replace(back, where=both)) == downwards[part]

    async def test_a_query_without_order_is_a_list_by_key(self, open_storage: OpenFull) -> None:
        """`after` continues it, and need not be a key that exists."""
        async with open_storage("svc") as storage:
            for number in range(23):
                await store(storage, GrainId("account", f"{number:02}"), kind=number % 2)
            expected = [f"{number:02}" for number in range(0, 23, 2)]
            pages: list[list[str]] = []
            after: str | None = None
            while not pages or len(pages[-1]) == 5:
                query = Query(grain_type="account", state=STATE, where={"kind": 0}, after=after, limit=5)
                pages.append(await storage.find(query))
                after = pages[-1][-1] if pages[-1] else None
            assert [key for page in pages for key in page] == expected
            query = Query(grain_type="account", state=STATE, where={"kind": 0}, after="03x")
            assert await storage.find(query) == expected[2:]

    async def test_each_write_replaces_the_index(self, open_storage: OpenFull) -> None:
        """A changed value, a field that is gone, a clear, a write after it; a refused write changes nothing."""
        async with open_storage("svc") as storage:
            etag = await store(storage, ANN, city="Rome", age=7)
            etag = await store(storage, ANN, etag, city="Oslo", age=7)
            assert await found(storage, city="Rome") == []
            assert await found(storage, city="Oslo", age=7) == ["ann"]
            etag = await store(storage, ANN, etag, city="Oslo")
            assert await found(storage, age=7) == []
            error = await refusal(store(storage, ANN, "77", city="Pisa"))
            assert isinstance(error, InconsistentStateError)
            assert await found(storage, city="Pisa") == []
            cleared = await storage.clear(ANN, STATE, etag)
            assert await found(storage, city="Oslo") == []
            etag = await store(storage, ANN, cleared, city="Rome")
            assert await found(storage, city="Rome") == ["ann"]
            await storage.write(ANN, STATE, b"1", etag)
            assert await found(storage, city="Rome") == []

    async def test_the_index_of_a_set_is_part_of_it(self, open_storage: OpenFull) -> None:
        """Found right after the commit by another silo; not at all if one item of the set does not hold."""
        async with open_storage("svc") as one, open_storage("svc") as two:
            rome = IndexEntry("city", "Rome")
            error = await refusal(one.commit(writes(write(ANN, b"1", None, rome), write(BOB, b"1", "77", rome))))
            assert isinstance(error, InconsistentStateError)
            assert await found(two, city="Rome") == []
            await one.commit(writes(write(ANN, b"1", None, rome), write(BOB, b"1", None, rome)))
            assert await found(two, city="Rome") == ["ann", "bob"]

    async def test_a_unique_value_is_refused_to_a_second_record(self, open_storage: OpenFull) -> None:
        """The error names the field and not the value; the record and its index stay. Its own value it may keep."""
        async with open_storage("svc") as storage:
            etag = await unique(storage, ANN, "x@example")
            bob = await unique(storage, BOB, "y@example")
            for grain, held in ((CAT, None), (BOB, bob)):
                error = await refusal(unique(storage, grain, "x@example", held))
                assert isinstance(error, UniqueValueError), error
                assert error.field == "mail"
                assert "x@example" not in str(error)
            entries = IndexEntry("city", "Rome"), IndexEntry("mail", "x@example", unique=True)
            error = await refusal(storage.commit(writes(write(DAN, b"1", None), write(CAT, b"1", None, *entries))))
            assert isinstance(error, UniqueValueError), error
            assert await payloads(storage, BOB, CAT, DAN) == [b"1", None, None]
            assert await found(storage, city="Rome") == []
            assert await found(storage, mail="y@example") == ["bob"]
            await unique(storage, ANN, "x@example", etag)
            assert await found(storage, mail="x@example") == ["ann"]

    async def test_a_unique_value_is_unique_in_its_place_only(self, open_storage: OpenFull) -> None:
        """Of one type, state name, field and service; a number is another value than its text."""
        async with open_storage("svc") as storage, open_storage("other") as other:
            await unique(storage, ANN, "7")
            await unique(other, BOB, "7")
            await unique(storage, GrainId("cart", "bob"), "7")
            await unique(storage, BOB, 7)
            await storage.commit(writes(write(CAT, b"1", None, IndexEntry("phone", "7", unique=True))))
            await storage.commit(writes(Write(CAT, "else", b"1", None, index=(IndexEntry("mail", "7", unique=True),))))
            await storage.commit(writes(write(DAN, b"1", None, IndexEntry("mail", "7"))))
            assert await found(storage, mail="7") == ["ann", "dan"]
            error = await refusal(unique(storage, GrainId("account", "eve"), 7.0))
            assert isinstance(error, UniqueValueError), error

    async def test_a_unique_value_is_free_again(self, open_storage: OpenFull) -> None:
        """After a clear of its record, after another value, and after a write without it."""
        async with open_storage("svc") as storage:
            etag = await unique(storage, ANN, "x")
            cleared = await storage.clear(ANN, STATE, etag)
            bob = await unique(storage, BOB, "x")
            await unique(storage, BOB, "y", bob)
            cat = await unique(storage, CAT, "x")
            await storage.write(CAT, STATE, b"1", cat)
            await unique(storage, ANN, "x", cleared)
            assert await found(storage, mail="x") == ["ann"]
            assert await found(storage, mail="y") == ["bob"]

    async def test_of_records_that_want_one_value_one_gets_it(self, open_storage: OpenFull) -> None:
        """At once through two connections; the others learn why, and are not stored."""
        async with open_storage("svc") as one, open_storage("svc") as two:
            for turn in range(10):
                grains = [GrainId("account", f"{turn}-{number}") for number in range(6)]
                outcomes = await asyncio.gather(
                    *(unique((one, two)[place % 2], grain, f"v{turn}") for place, grain in enumerate(grains)),
                    return_exceptions=True,
                )
                won = [isinstance(outcome, str) for outcome in outcomes]
                assert sum(won) == 1, outcomes
                assert all(isinstance(outcome, str | UniqueValueError) for outcome in outcomes), outcomes
                assert [payload is not None for payload in await payloads(one, *grains)] == won
                assert await found(two, mail=f"v{turn}") == [grains[won.index(True)].key]

    async def test_a_lost_etag_is_told_before_a_unique_value(self, open_storage: OpenFull) -> None:
        """So a grain reads again first. A set that is sent again does not meet its own value."""
        async with open_storage("svc") as storage:
            changes = writes(write(ANN, b"1", None, IndexEntry("mail", "x", unique=True)), stamp=Stamp(SILO, 1))
            done = await storage.commit(changes)
            assert await storage.commit(changes) == done
            error = await refusal(unique(storage, BOB, "x", "77"))
            assert isinstance(error, InconsistentStateError), error
            await storage.fence([OTHER])
            dead = writes(write(BOB, b"1", None, IndexEntry("mail", "x", unique=True)), stamp=Stamp(OTHER, 1))
            error = await refusal(storage.commit(dead))
            assert isinstance(error, InconsistentStateError), error
            assert error.fenced

    async def test_odd_texts_are_values_like_others(self, open_storage: OpenFull) -> None:
        """In values, in names of fields and in keys: found exactly, never as patterns or parts of each other."""
        async with open_storage("svc") as storage:
            for number, text in enumerate(ODD):
                entries = (IndexEntry("text", text, unique=True), IndexEntry(text, number))
                await storage.commit(writes(write(GrainId("account", text), b"1", None, *entries)))
            for number, text in enumerate(ODD):
                assert await found(storage, text=text) == [text]
                assert await found(storage, **{text: number}) == [text]
                assert await found(storage, **{text: number + 1}) == []
            assert await ordered(storage, "text") == sorted(ODD)

    async def test_what_no_store_can_hold_is_not_asked_for(self, open_storage: OpenFull) -> None:
        """Hostile values of a query are refused by name, not passed to a database."""
        hostile = [Query(grain_type=text, state=STATE) for text in UNSTORABLE]
        hostile += [Query(grain_type="account", state=text) for text in UNSTORABLE]
        hostile += [Query(grain_type="account", state=STATE, after=text) for text in UNSTORABLE]
        hostile += [Query(grain_type="account", state=STATE, order_by=text) for text in ("", *UNSTORABLE)]
        for value in (math.nan, math.inf, -math.inf, 2**53 + 1, *UNSTORABLE):
            hostile.append(Query(grain_type="account", state=STATE, where={"city": value}))
        hostile += [Query(grain_type="account", state=STATE, where={text: 1}) for text in ("", *UNSTORABLE)]
        hostile += [Query(grain_type="account", state=STATE, limit=limit) for limit in (0, -1)]
        hostile.append(Query(grain_type="account", state=STATE, offset=-1))
        async with open_storage("svc") as storage:
            for query in hostile:
                error = await refusal(storage.find(query))
                assert type(error) is StorageError, error
            for arguments in (*((text, "") for text in UNSTORABLE), *(("account", text) for text in UNSTORABLE)):
                error = await refusal(storage.list_records(*arguments))
                assert type(error) is StorageError, error
            error = await refusal(storage.list_records("account", "", RecordName("nul\0", "s")))
            assert type(error) is StorageError, error


async def store(storage: FullStorage, grain: GrainId, etag: str | None = None, **values: str | float) -> str:
    """Store a record with these indexed values; its new etag."""
    index = (IndexEntry(field, value) for field, value in values.items())
    (stored,) = (await storage.commit(writes(write(grain, b"1", etag, *index)))).etags
    assert stored is not None
    return stored


async def unique(storage: FullStorage, grain: GrainId, value: str | float, etag: str | None = None) -> str:
    """Store a record with this unique value of `mail`; its new etag."""
    (stored,) = (await storage.commit(writes(write(grain, b"1", etag, IndexEntry("mail", value, unique=True))))).etags
    assert stored is not None
    return stored


async def found(storage: FullStorage, **where: str | float) -> list[str]:
    """The keys of sample accounts with these values."""
    return await storage.find(Query(grain_type="account", state=STATE, where=where))


async def ordered(
    storage: FullStorage, field: str, where: Mapping[str, str | float] | None = None, descending: bool = False
) -> list[str]:
    """The keys of sample accounts, ordered by a field."""
    query = Query(grain_type="account", state=STATE, where=where or {}, order_by=field, descending=descending)
    return await storage.find(query)
