"""The contract of grain storage. Subclass `StorageContract` and provide the fixture `open_storage`."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import Any
from uuid import UUID

import msgspec

from grange.proto.ids import GrainId
from grange.proto.keys import encode_key
from grange.storage.provider import GrainStorage, StateRecord
from grange.storage.states.state import PersistentState
from grange.storage.states.store import StateStore
from grange.testing.contracts.storage_fences import FencingCases
from grange.testing.contracts.storage_samples import (
    ANN,
    BIG,
    Box,
    Flight,
    JsonForm,
    OpenStorage,
    holder,
    json_of,
    refused,
    rejected,
)
from grange.testing.contracts.storage_values import ValueCases


class StorageContract(FencingCases, ValueCases):
    """Fixture to provide: `open_storage`, an `OpenStorage` on a database that is empty when a test starts."""

    delete_on_clear = False
    """True if a clear removes the row with its etag, so that a write after it needs the etag None."""

    durable = True
    """True if records outlive the provider that wrote them; False skips the restart cases."""

    counter_etags = True
    """True if etags are decimal counters that rise by exactly 1."""

    async def test_what_was_written_is_read(self, open_storage: OpenStorage) -> None:
        """STO-01: same state, same etag, exists."""
        async with open_storage("svc") as storage:
            written, fresh = holder(storage), holder(storage)
            written.value = Flight(7, "seven")
            await written.write()
            await fresh.read()
            assert (fresh.value, fresh.etag, fresh.exists) == (Flight(7, "seven"), written.etag, True)
            assert (await storage.read(ANN, "state")).schema == 1

    async def test_a_record_never_written_reads_as_a_fresh_default(self, open_storage: OpenStorage) -> None:
        """STO-02: the previous value of the holder does not matter."""
        async with open_storage("svc") as storage:
            stale = holder(storage)
            stale.value = Flight(7, "stale")
            await stale.read()
            assert (stale.value, stale.etag, stale.exists) == (Flight(), None, False)
            assert await storage.read(ANN, "state") == StateRecord(None, None)

    async def test_every_write_has_a_new_etag(self, open_storage: OpenStorage) -> None:
        """STO-03: even when the value is unchanged."""
        async with open_storage("svc") as storage:
            etags = [await storage.write(ANN, "state", b"1", None)]
            for _ in range(2):
                etags.append(await storage.write(ANN, "state", b"1", etags[-1]))
            assert all(etags)
            assert len(set(etags)) == 3

    async def test_a_first_write_needs_that_there_is_no_record(self, open_storage: OpenStorage) -> None:
        """STO-04."""
        async with open_storage("svc") as storage:
            etag = await storage.write(ANN, "state", b"1", None)
            await refused(storage.write(ANN, "state", b"2", None), stored=etag, given=None)
            assert json_of(await storage.read(ANN, "state")) == 1

    async def test_a_stale_write_is_refused(self, open_storage: OpenStorage) -> None:
        """STO-05: a following read returns the latest value and etag."""
        async with open_storage("svc") as storage:
            first = await storage.write(ANN, "state", b"1", None)
            second = await storage.write(ANN, "state", b"2", first)
            await refused(storage.write(ANN, "state", b"3", first), stored=second, given=first)
            record = await storage.read(ANN, "state")
            assert (json_of(record), record.etag) == (2, second)

    async def test_a_made_up_etag_is_refused(self, open_storage: OpenStorage) -> None:
        """STO-06: for a record that was never written, with any etag."""
        async with open_storage("svc") as storage:
            for etag in ("1", "0", "-1", "made-up", "9" * 40, "½", ""):
                await refused(storage.write(ANN, "state", b"1", etag), stored=None, given=etag)
                await refused(storage.clear(ANN, "state", etag), stored=None, given=etag)
            assert await storage.read(ANN, "state") == StateRecord(None, None)

    async def test_a_stale_clear_is_refused(self, open_storage: OpenStorage) -> None:
        """STO-07: the record is unchanged."""
        async with open_storage("svc") as storage:
            first = await storage.write(ANN, "state", b"1", None)
            second = await storage.write(ANN, "state", b"2", first)
            await refused(storage.clear(ANN, "state", first), stored=second, given=first)
            await refused(storage.clear(ANN, "state", None), stored=second, given=None)
            record = await storage.read(ANN, "state")
            assert (json_of(record), record.etag) == (2, second)

    async def test_a_clear_changes_the_etag(self, open_storage: OpenStorage) -> None:
        """STO-08: afterwards the holder has the default; STO-09: a fresh holder reads the same."""
        async with open_storage("svc") as storage:
            state, fresh = holder(storage), holder(storage)
            state.value = Flight(7, "seven")
            await state.write()
            written = state.etag
            await state.clear()
            assert (state.value, state.exists) == (Flight(), False)
            assert state.etag is None if self.delete_on_clear else state.etag not in (None, "", written)
            await fresh.read()
            assert (fresh.value, fresh.etag, fresh.exists) == (Flight(), state.etag, False)

    async def test_clearing_what_was_never_written_succeeds(self, open_storage: OpenStorage) -> None:
        """STO-10, and STO-11: twice in a row, before and after a write."""
        async with open_storage("svc") as storage:
            state = holder(storage)
            state.value = Flight(7, "unsaved")
            for _ in range(2):
                await state.clear()
                assert (state.value, state.exists) == (Flight(), False)
            await state.write()
            for _ in range(2):
                await state.clear()
                assert not state.exists
            assert json_of(await storage.read(ANN, "state")) is None

    async def test_a_write_after_a_clear_holds_nothing_of_the_first(self, open_storage: OpenStorage) -> None:
        """STO-13."""
        async with open_storage("svc") as storage:
            state, fresh = holder(storage), holder(storage)
            state.value = Flight(7, "seven")
            await state.write()
            await state.clear()
            await state.write()
            await fresh.read()
            assert (fresh.value, fresh.exists, fresh.etag) == (Flight(), True, state.etag)

    async def test_write_read_clear_read(self, open_storage: OpenStorage) -> None:
        """STO-14."""
        async with open_storage("svc") as storage:
            etag = await storage.write(ANN, "state", b'{"number": 7}', None, schema=3)
            first = await storage.read(ANN, "state")
            assert (json_of(first), first.etag, first.schema) == ({"number": 7}, etag, 3)
            cleared = await storage.clear(ANN, "state", etag)
            second = await storage.read(ANN, "state")
            assert (second.payload, second.etag) == (None, cleared)

    async def test_an_etag_from_before_a_clear_never_fits_again(self, open_storage: OpenStorage) -> None:
        """Beyond the published cases: a write based on a record before its clear and rewrite must fail."""
        async with open_storage("svc") as storage:
            used = [await storage.write(ANN, "state", b"1", None)]
            for _ in range(3):
                cleared = await storage.clear(ANN, "state", used[-1])
                used.append(await storage.write(ANN, "state", b"2", cleared))
            for etag in used[:-1]:
                await refused(storage.write(ANN, "state", b"3", etag), stored=used[-1], given=etag)

    async def test_records_are_kept_apart(self, open_storage: OpenStorage) -> None:
        """STO-15 and STO-20: by service, type, key and state name, also when their concatenations are equal."""
        names = [(GrainId("cart", "A"), "state"), (GrainId("cart", "B"), "state"), (GrainId("cart", "A"), "x")]
        names += [(GrainId("a:b", "c"), "d"), (GrainId("a", "b:c"), "d"), (GrainId("a", "b"), "c:d")]
        names += [(GrainId("a%3Ab", "c"), "d"), (GrainId("a", "c/x"), "d"), (GrainId("a", "c"), "x/d")]
        names += [(GrainId("cart", "a"), "state"), (GrainId("cart", "A "), "state"), (GrainId("cart", "{A}"), "s")]
        async with open_storage("svc") as storage, open_storage("other") as other:
            for number, (grain_id, name) in enumerate(names):
                await storage.write(grain_id, name, str(number).encode(), None)
                await other.write(grain_id, name, str(-number).encode(), None)
            for number, (grain_id, name) in enumerate(names):
                assert json_of(await storage.read(grain_id, name)) == number
                assert json_of(await other.read(grain_id, name)) == -number

    async def test_any_text_and_any_json_comes_back(self, open_storage: OpenStorage) -> None:
        """STO-16, and STO-24 (JSON is the only format, so no test switches formats); also near the size limit."""
        values: list[Any] = ["Привет, мир", "grains 🌾", '"\\u0000" as text: \\u0000', "'; DROP TABLE x; --"]
        values += [None, True, 0, -1.5, 2**63, 1e15, [], {}, {"größe": {"nested": [1, [2, {"3": None}]]}}]
        values += ["\x01\x1f\x7f\u2028", "x" * 4096]
        grain_id = GrainId("корзина", "ключ/'\"\\%:{}\n\t🌾")
        async with open_storage("svc") as storage:
            etag = None
            for value in values:
                etag = await storage.write(grain_id, "состояние", msgspec.json.encode(value), etag)
                assert json_of(await storage.read(grain_id, "состояние")) == value
            await storage.write(grain_id, "состояние", BIG, etag)
            assert json_of(await storage.read(grain_id, "состояние")) == msgspec.json.decode(BIG)

    async def test_many_grains_in_parallel(self, open_storage: OpenStorage) -> None:
        """STO-17: 100 grains, ten rounds, 3 x CPU count at a time."""
        parallel = asyncio.Semaphore(3 * (os.cpu_count() or 1))

        async def rounds(storage: GrainStorage, number: int) -> None:
            grain_id, etag = GrainId("many", str(number)), None
            for turn in range(10):
                async with parallel:
                    previous, etag = etag, await storage.write(grain_id, "s", f"[{number},{turn}]".encode(), etag)
                    record = await storage.read(grain_id, "s")
                assert etag != previous
                assert (json_of(record), record.etag) == ([number, turn], etag)

        async with open_storage("svc") as storage:
            await asyncio.gather(*(rounds(storage, number) for number in range(100)))

    async def test_of_concurrent_writers_one_wins(self, open_storage: OpenStorage) -> None:
        """Beyond the published cases: through two connections, as of two silos; the loser changes nothing."""
        async with open_storage("svc") as one, open_storage("svc") as two:
            etag: str | None = None
            for turn in range(20):
                writes = (
                    storage.write(ANN, "state", f"[{turn},{number}]".encode(), etag)
                    for number, storage in enumerate((one, two, one, two))
                )
                outcomes = await asyncio.gather(*writes, return_exceptions=True)
                winners = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, str)]
                assert len(winners) == 1
                record = await one.read(ANN, "state")
                assert (json_of(record), record.etag) == ([turn, winners[0]], outcomes[winners[0]])
                etag = record.etag

    async def test_key_and_state_kinds(self, open_storage: OpenStorage) -> None:
        """STO-18: integer, UUID and text keys, each with a plain and a generic state."""
        kinds: list[tuple[Any, Any]] = [(int, -7), (UUID, UUID(int=5)), (str, "seven"), ((str, int), ("a/b", 1))]
        states: list[tuple[Any, Any]] = [(Flight, Flight(3, "x")), (Box, Box(3))]
        async with open_storage("svc") as storage:
            for (key_kind, key), (kind, value) in itertools.product(kinds, states):
                grain_id = GrainId(kind.__name__, encode_key(key_kind, key))
                state = PersistentState(StateStore(storage), grain_id, "s", JsonForm[Any](kind), kind)
                for _ in range(2):
                    state.value = value
                    await state.write()
                    await state.read()
                    assert (state.value, state.exists) == (value, True)
                    await state.clear()
                    assert (state.value, state.exists) == (kind(), False)

    async def test_etags_count(self, open_storage: OpenStorage) -> None:
        """STO-21: they rise by exactly 1 on a write, on a clear and on a write after a clear."""
        if not self.counter_etags or self.delete_on_clear:
            return
        async with open_storage("svc") as storage:
            etags: list[str | None] = [await storage.write(ANN, "state", b"1", None)]
            etags.append(await storage.write(ANN, "state", b"2", etags[-1]))
            etags.append(await storage.clear(ANN, "state", etags[-1]))
            etags.append(await storage.clear(ANN, "state", etags[-1]))
            etags.append(await storage.write(ANN, "state", b"3", etags[-1]))
            first = int(etags[0] or "")
            assert [int(etag or "") - first for etag in etags] == [0, 1, 2, 3, 4]

    async def test_records_survive_a_restart(self, open_storage: OpenStorage) -> None:
        """STO-25: a record cleared before the restart is still cleared."""
        if not self.durable:
            return
        cleared_id = GrainId("cart", "cleared")
        async with open_storage("svc") as storage:
            etag = await storage.write(ANN, "state", b"1", None)
            cleared = await storage.clear(cleared_id, "s", await storage.write(cleared_id, "s", b"1", None))
        async with open_storage("svc") as storage:
            record = await storage.read(ANN, "state")
            assert (json_of(record), record.etag) == (1, etag)
            record = await storage.read(cleared_id, "s")
            assert (record.payload, record.etag) == (None, cleared)
            await storage.write(ANN, "state", b"2", etag)

    async def test_generic_states_of_one_key_are_apart(self, open_storage: OpenStorage) -> None:
        """STO-26: int, text and float arguments; the type's name is part of the grain type."""
        async with open_storage("svc") as storage:
            states: dict[str, PersistentState[Box[Any]]] = {
                name: PersistentState(StateStore(storage), GrainId(f"box[{name}]", "k"), "s", JsonForm[Any](kind), Box)
                for name, kind in (("int", Box[int]), ("str", Box[str]), ("float", Box[float]))
            }
            values: dict[str, Any] = {"int": 1, "str": "one", "float": 1.5}
            for name, state in states.items():
                state.value = Box(values[name])
                await state.write()
            for name, state in states.items():
                await state.read()
                assert state.value.held == values[name]

    async def test_what_no_database_could_hold_is_refused(self, open_storage: OpenStorage) -> None:
        """Beyond the published cases: NUL characters, lone surrogates, keys of 10 kB, payloads over the limit."""
        async with open_storage("svc") as storage:
            for key in ("nul\0key", "lone\ud800", "k" * 10_000, "ключ" * 700):
                await rejected(storage.write(GrainId("cart", key), "state", b"1", None))
                await rejected(storage.read(GrainId("cart", key), "state"))
                await rejected(storage.clear(GrainId("cart", key), "state", None))
            for payload in (b'"\\u0000"', b'"\\\\\\u0000"', b'"' + b"x" * 9_000_000 + b'"', b'"\xff"'):
                await rejected(storage.write(ANN, "state", payload, None))
            await storage.write(GrainId("cart", "k" * 2_000), "state", b"1", None)
            assert await storage.read(ANN, "state") == StateRecord(None, None)
