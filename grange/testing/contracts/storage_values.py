"""The contract of grain storage for payloads: part of `StorageContract`."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import msgspec

from grange.errors import StorageError
from grange.proto.ids import GrainId
from grange.storage.provider import StateRecord
from grange.storage.states.state import PersistentState
from grange.storage.states.store import StateStore
from grange.testing.contracts.storage_samples import ANN, JsonForm, OpenStorage, rejected

NUMBERS = (
    "1e16",
    "1E+2",
    "1e2",
    "100",
    "100.0",
    "0",
    "-0",
    "0.0",
    "-0.0",
    "-0e-7",
    "1.10",
    "5e-324",
    "1e400",
    "-1e999999",
)
"""Numbers that a database of numbers would write in another way, or could not hold."""

INTEGERS = (2**53 + 1, 2**63 - 1, -(2**63), 2**64, 10**30, -(10**300))

TEXTS = (
    "", " ", "emoji 🌾👩‍🚀", "ключ", "e\u0301 \u00e9", "\u2028\u2029", "\x01\x1f\x7f\ufffd\uffff\U0010ffff", "\\u0041",
    '"quoted"', "line\nfeed\ttab\r", "'; DROP TABLE x; --", "1e16", "null", "2026-01-01T00:00:00Z", "x" * 100_000,
)  # fmt: skip

OBJECTS = (
    '{"zebra":1,"ant":2,"Zebra":3,"":4," ":5,"aa":6,"b":7}',  # the order of the members
    '{"10":1,"9":2,"1":3,"-1":4}',
    '{"a":1,"\\u0061":2,"a ":3,"A":4}',  # members that are equal, or nearly
    '{"a":{"z":{},"b":[]},"A":[{},[],[[]],null,true,false,""]}',
    '{"caf\\u00e9":1,"cafe\\u0301":2}',
    '{"__proto__":1,"$type":"x","@":{"%":":"}}',
)

WHITE_SPACE = (" [ 1 , 2 ]\n", '{ "a" : 1 }', "\t{\r\n}\n", '{"a":1.0,\n\n"b":[ ]}')

ESCAPES = ('"\\u00e9\\ud83c\\udf3e"', '"\\/\\b\\f\\n\\r\\t\\\\\\""', '"\\ud800"', '"\\uDC00 lone"')
"""Text that another writer of JSON would write without the escape, or could not decode."""


class Everything(msgspec.Struct):
    """A state with a field of each kind of value that stores have changed."""

    queue: dict[str, int] = {}
    by_number: dict[int, str] = {}
    amount: int | float = 0
    zero: float = 0.0
    large: float = 0.0
    text: str = ""
    parts: tuple[list[Any], ...] = ()


EVERYTHING = Everything(
    {"zebra": 1, "ant": 2, "10": 3, "9": 4},
    {10: "a", -9: "b"},
    1e16,
    -0.0,
    1.7976931348623157e308,
    "\u2028🌾\\",
    ([[]], [{}]),
)


class ValueCases:
    """What was acknowledged reads back byte for byte. Inherited by `StorageContract`."""

    async def test_payloads_come_back_byte_for_byte(self, open_storage: OpenStorage) -> None:
        """Alone, as a member and in a list. The order of members and the text of a number are part of a value."""
        plain = [*NUMBERS, *map(str, INTEGERS), *OBJECTS, *WHITE_SPACE, *ESCAPES, "null", "true", "[]", "{}", '""']
        plain += [json.dumps(text, ensure_ascii=ascii) for text in TEXTS for ascii in (True, False)]
        payloads = [
            text.encode() for value in plain for text in (value, f'{{"z":{value},"a":{value}}}', f"[{value},[{value}]]")
        ]
        async with open_storage("svc") as storage:
            etag = None
            for payload in payloads:
                etag = await storage.write(ANN, "state", payload, etag)
                assert (await storage.read(ANN, "state")).payload == payload, f"changed: {payload[:80]!r}"

    async def test_payloads_of_a_batch_come_back_byte_for_byte(self, open_storage: OpenStorage) -> None:
        """Written at the same time, each record keeps its own, over the payload that was there before."""
        payloads = [f'{{"z":{text},"a":1e16}}'.encode() for text in (*NUMBERS, *OBJECTS, *WHITE_SPACE)]
        grains = [GrainId("many", str(number)) for number in range(len(payloads))]
        async with open_storage("svc") as storage:
            etags = await asyncio.gather(*(storage.write(grain, "s", b"{}", None) for grain in grains))
            work = zip(grains, payloads, etags, strict=True)
            await asyncio.gather(*(storage.write(grain, "s", payload, etag) for grain, payload, etag in work))
        async with open_storage("svc") as storage:
            records = [await storage.read(grain, "s") for grain in grains]
            if any(record.payload is not None for record in records):  # a provider without memory has none
                assert [record.payload for record in records] == payloads

    async def test_deep_payloads_come_back(self, open_storage: OpenStorage) -> None:
        """Up to a thousand levels, about the most that the codec of a grain's state writes."""
        async with open_storage("svc") as storage:
            etag = None
            for payload in (b"[" * 1_000 + b"]" * 1_000, b'{"a":' * 1_000 + b"1e16" + b"}" * 1_000):
                etag = await storage.write(ANN, "state", payload, etag)
                assert (await storage.read(ANN, "state")).payload == payload

    async def test_a_state_reads_back_the_same(self, open_storage: OpenStorage) -> None:
        """Through `PersistentState`: order, minus zero, a float that looks like an integer, keys that are numbers."""
        async with open_storage("svc") as storage:
            states = [_everything(storage, GrainId("everything", "a")) for _ in range(2)]
            states[0].value = EVERYTHING
            await states[0].write()
            await states[1].read()
            assert repr(states[1].value) == repr(EVERYTHING)
            assert list(states[1].value.queue) == list(EVERYTHING.queue)

    async def test_a_state_that_would_read_back_otherwise_is_not_stored(self, open_storage: OpenStorage) -> None:
        """NaN, a tuple as a list, an integer that becomes a float: the record and the value in memory stay."""
        async with open_storage("svc") as storage:
            state, fresh = (_everything(storage, GrainId("everything", "b")) for _ in range(2))
            state.value = Everything(text="kept")
            await state.write()
            for change, place in (
                (Everything(amount=math.nan), ".amount"),
                (Everything(large=2**60 + 1), "value.large"),
                (Everything(parts=([(1, 2)],)), r"value.parts[0][0]"),
                (Everything(parts=([{1: 2}],)), r"value.parts[0][0]"),
            ):
                state.value = change
                error = await _refusal(state)
                assert place in str(error), error
                assert state.value is change
                await fresh.read()
                assert (fresh.value.text, fresh.etag) == ("kept", state.etag)

    async def test_payloads_with_nul_characters_are_refused_by_every_store(self, open_storage: OpenStorage) -> None:
        """SQL cannot read such a text in Postgres. As an escaped backslash it is text like any other."""
        async with open_storage("svc") as storage:
            for payload in (b'"\\u0000"', b'{"a\\u0000":1}', b'["\\\\\\u0000"]', b'"\0"'):
                await rejected(storage.write(ANN, "state", payload, None))
            assert await storage.read(ANN, "state") == StateRecord(None, None)
            await storage.write(ANN, "state", b'"\\\\u0000"', None)
            assert (await storage.read(ANN, "state")).payload == b'"\\\\u0000"'


def _everything(storage: Any, grain_id: GrainId) -> PersistentState[Everything]:
    return PersistentState(StateStore(storage), grain_id, "s", JsonForm[Everything](Everything), Everything)


async def _refusal(state: PersistentState[Everything]) -> StorageError | None:
    try:
        await state.write()
    except StorageError as error:
        return error
    return None
