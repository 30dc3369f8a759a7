"""The contract of lists of records: part of `QueryContract`."""

from __future__ import annotations

import asyncio

from grange.proto.ids import GrainId
from grange.storage.provider import RecordName
from grange.storage.sets import Write
from grange.testing.contracts.set_limits import ODD
from grange.testing.contracts.set_samples import ANN, BOB, STATE, OpenFull, all_records, write, writes

KEYS = ("", " ", "%", "A", "B", "a", "a ", "a/b", "aa", "ab", "b", "e\u0301", "é", "я", "\uffff", "🌾", "\U0010ffff")
"""In order of code points."""


class ListCases:
    """Inherited by `QueryContract`."""

    async def test_records_are_listed_in_order(self, open_storage: OpenFull) -> None:
        """By key in code points, then by state name; of one type and service; in pages of any size."""
        async with open_storage("svc") as storage, open_storage("other") as other:
            names = [RecordName(key, state) for key in KEYS for state in ("", "a", "b")]
            for name in names[::-1]:
                await storage.commit(writes(Write(GrainId("account", name.key), name.state, b"1", None)))
            await storage.commit(writes(Write(GrainId("accounts", "x"), "a", b"1", None)))
            await other.commit(writes(Write(GrainId("account", "x"), "a", b"1", None)))
            for limit in (1, 2, 7, len(names), 1_000):
                assert await all_records(storage, "account", limit) == names
            assert await storage.list_records("account", limit=5) == names[:5]
            assert await storage.list_records("accoun") == []

    async def test_a_prefix_limits_a_list(self, open_storage: OpenFull) -> None:
        """Of the key as text: no character of it is a pattern, and case matters."""
        keys = sorted({*KEYS, *ODD, "a%b", "a_b", "axb", "[a]", "a*"})
        async with open_storage("svc") as storage:
            await storage.commit(writes(*(write(GrainId("account", key), b"1", None) for key in keys)))
            for prefix in ("a", "a%", "a_", "A", "%", "*", "[", "я", "🌾", "e", "\uffff", "a/b", "none", "\U0010ffff"):
                expected = [RecordName(key, STATE) for key in keys if key.startswith(prefix)]
                assert await all_records(storage, "account", 2, prefix) == expected, prefix
            assert await storage.list_records("account", "a", RecordName("b", "")) == []
            after = RecordName("A", "zzz")
            assert await storage.list_records("account", "a", after, 1) == [RecordName("a", STATE)]

    async def test_a_list_holds_what_has_a_value(self, open_storage: OpenFull) -> None:
        """Not a record that was cleared, until it is written again."""
        async with open_storage("svc") as storage:
            etag = await storage.write(ANN, STATE, b"1", None)
            etag = await storage.write(ANN, STATE, b"2", etag)
            await storage.write(BOB, STATE, b"1", None)
            cleared = await storage.clear(ANN, STATE, etag)
            again = await storage.clear(ANN, STATE, cleared)
            assert await storage.list_records("account") == [RecordName("bob", STATE)]
            await storage.write(ANN, STATE, b"3", again)
            assert await storage.list_records("account") == [RecordName("ann", STATE), RecordName("bob", STATE)]

    async def test_a_list_goes_on_while_records_are_written(self, open_storage: OpenFull) -> None:
        """Each record that is there all the time is listed once, and none twice."""
        kept = [GrainId("account", f"{number:03}") for number in range(0, 120, 2)]
        async with open_storage("svc") as storage:
            await storage.commit(writes(*(write(grain, b"1", None) for grain in kept)))

            async def write_between() -> None:
                for number in range(1, 120, 2):
                    grain = GrainId("account", f"{(number * 7) % 120:03}")
                    etag = await storage.write(grain, STATE, b"1", None)
                    if number % 3 == 0:
                        await storage.clear(grain, STATE, etag)

            writer = asyncio.create_task(write_between())
            while not writer.done():
                listed = await all_records(storage, "account", 7)
                assert listed == sorted(set(listed))
                assert {name.key for name in listed} >= {grain.key for grain in kept}
                await asyncio.sleep(0)
            await writer
