"""The contract of change sets for sizes, odd names and items that no store takes: part of `SetContract`."""

from __future__ import annotations

import math
from collections.abc import Awaitable

from grange.errors import InconsistentStateError, StorageError, UniqueValueError
from grange.proto.ids import GrainId
from grange.storage.sets import (
    SLOTS,
    Append,
    ChangeSet,
    Check,
    IndexEntry,
    JournalEvent,
    Received,
    ReminderRow,
    Stamp,
    Write,
)
from grange.testing.contracts.set_samples import (
    ANN,
    BOB,
    CAT,
    SILO,
    STATE,
    OpenFull,
    contents,
    payloads,
    put,
    refusal,
    reminder,
    write,
    writes,
)

LARGE = b'"' + b"x" * 1_500_000 + b'"'
SECRET = "hunter2"  # noqa: S105 a value that must not be shown
ODD = ("a/b", "a\\b", "a#b?c", "a:b%3A", "{a}", "ключ 🌾", "'; DROP TABLE x; --", " ", "*[a-z]?", "\x01\x7f", "e\u0301")
UNSTORABLE = ("nul\0", "lone\ud800", "k" * 10_000)


class LimitCases:
    """What a set may hold. Inherited by `SetContract`."""

    async def test_a_large_set_is_one_set(self, open_storage: OpenFull) -> None:
        """A thousand items; and megabytes, more than a batch holds: stored whole, and refused whole."""
        grains = [GrainId("many", str(number)) for number in range(1_000)]
        async with open_storage("svc") as storage:
            done = await storage.commit(writes(*(write(grain, b"1", None) for grain in grains), stamp=Stamp(SILO, 1)))
            assert len(done.etags) == len(grains)
            items = [write(grain, b"2", etag) for grain, etag in zip(grains, done.etags, strict=True)]
            error = await refusal(storage.commit(writes(*items[:-1], write(grains[-1], b"2", "77"))))
            assert isinstance(error, InconsistentStateError), error
            assert await payloads(storage, *grains[::37]) == [b"1"] * len(grains[::37])
            await storage.commit(writes(*items))
            assert await payloads(storage, *grains[::37]) == [b"2"] * len(grains[::37])
            large = [write(grain, LARGE, None) for grain in (ANN, BOB, CAT)]
            await storage.commit(writes(*large, stamp=Stamp(SILO, 2)))
            assert await payloads(storage, ANN, BOB, CAT) == [LARGE] * 3

    async def test_what_is_over_a_limit_is_refused_by_name(self, open_storage: OpenFull) -> None:
        """As a whole, before it is sent; the error tells what is too much."""
        many = [write(GrainId("many", str(number)), b"1", None) for number in range(1_001)]
        huge = b'"' + b"x" * 8_000_000 + b'"'
        async with open_storage("svc") as storage:
            for changes, words in (
                (writes(*many), "1002 items"),
                (writes(write(ANN, b'"' + b"x" * 9_000_000 + b'"', None)), "9,000,002 bytes"),
                (writes(*(write(GrainId("many", str(number)), huge, None) for number in range(5))), "40,000,011 bytes"),
                (ChangeSet(None, received=(Received(ANN, "new", b'"' + b"x" * 9_000_000 + b'"', 9),)), "answer new"),
                (ChangeSet(None, reminders=(put(reminder(ANN, "r", "e", entry=b"1" * 70_000)),)), "reminder r"),
                (writes(write(ANN, b"1", None, IndexEntry("city", "x" * 501))), "'city'"),
                (writes(write(ANN, b"1", None, *(IndexEntry(f"f{n}", 1) for n in range(33)))), "33 index entries"),
            ):
                error = await refused(storage.commit(joined(changes)))
                assert words in error, error
            assert await payloads(storage, ANN, BOB) == [None, None]

    async def test_what_no_store_can_hold_is_refused(self, open_storage: OpenFull) -> None:
        """Names, texts and numbers; two items of one record; events and log entries, which no store keeps yet."""
        async with open_storage("svc") as storage:
            before = await contents(storage)
            for changes in (*hostile_writes(), *hostile_reminders(), *hostile_answers(), *doubles()):
                await refused(storage.commit(joined(changes)))
                assert await contents(storage) == before
            for name in UNSTORABLE:
                await refused(storage.received(GrainId("account", name), "id"))
                await refused(storage.received(ANN, name))
                await refused(storage.reminders_of(GrainId("account", name)))

    async def test_odd_names_are_kept_apart(self, open_storage: OpenFull) -> None:
        """RMT-05: slash, backslash, hash, question mark and others, in keys, states, ids and names of reminders."""
        async with open_storage("svc/?#\\") as storage, open_storage("svc") as other:
            for name in ODD:
                grain = GrainId("account", name)
                row = reminder(grain, name, f"etag {name}", entry=f'"{name.encode().hex()}"'.encode())
                payload = row.entry
                items = (Write(grain, name, payload, None),)
                answers = (Received(grain, name, payload, 600),)
                await storage.commit(ChangeSet(Stamp(SILO, 1), items, (), answers, (put(row),)))
            for name in ODD:
                grain = GrainId("account", name)
                payload = f'"{name.encode().hex()}"'.encode()
                assert (await storage.read(grain, name)).payload == payload
                assert await storage.received(grain, name) == payload
                assert [(row.name, row.entry) for row in await storage.reminders_of(grain)] == [(name, payload)]
                assert await other.received(grain, name) is None
                assert await other.reminders_of(grain) == []
            parts = [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("a/b", "c"), ("a", "b/c")]
            for number, (key, id) in enumerate(parts):
                await storage.commit(
                    ChangeSet(None, received=(Received(GrainId("x", key), id, str(number).encode(), 600),))
                )
            for number, (key, id) in enumerate(parts):
                assert await storage.received(GrainId("x", key), id) == str(number).encode()

    async def test_no_error_shows_a_value(self, open_storage: OpenFull) -> None:
        """TXS-17: neither payloads nor answers, entries of reminders or indexed values, since errors are logged."""
        text = f'"{SECRET}"'.encode()
        mail = IndexEntry("mail", SECRET, unique=True)
        full = ChangeSet(
            Stamp(SILO, 1),
            (write(ANN, text, None, mail),),
            received=(Received(ANN, "new", text, 600),),
            reminders=(put(reminder(ANN, "call", "call-1", entry=text)),),
        )
        async with open_storage("svc") as storage:
            await storage.commit(full)
            for changes in (
                ChangeSet(Stamp(SILO, 2), full.writes, received=full.received, reminders=full.reminders),
                ChangeSet(Stamp(SILO, 2), received=full.received),
                ChangeSet(Stamp(SILO, 2), reminders=(put(reminder(ANN, "call", "call-2", entry=text)),)),
                writes(write(BOB, text, None, mail)),
                writes(write(BOB, text[:-1] + b'\\u0000"', None)),
                writes(write(BOB, b"1", None, IndexEntry("mail", SECRET + "\0"))),
                writes(write(BOB, text, None), write(BOB, text, None)),
            ):
                error = await refusal(storage.commit(changes))
                assert isinstance(error, InconsistentStateError | UniqueValueError | StorageError), error
                assert SECRET not in f"{error!r} {error} {error.__cause__}"


def joined(changes: ChangeSet) -> ChangeSet:
    """The set with a write before it that holds: it must not be stored."""
    return ChangeSet(
        changes.stamp,
        (write(GrainId("account", "front"), b"1", None), *changes.writes),
        changes.checks,
        changes.received,
        changes.reminders,
        changes.appends,
    )


def hostile_writes() -> list[ChangeSet]:
    """Each with one write that is refused."""
    entries = [IndexEntry("f", value) for value in (math.nan, math.inf, -math.inf, 2**53 + 1, -(2**70), 10**400)]
    entries += [IndexEntry("f", text) for text in ("nul\0", "lone\ud800")]
    entries += [IndexEntry(text, 1) for text in ("", *UNSTORABLE)]
    items = [write(ANN, b"1", None, entry) for entry in entries]
    items += [Write(GrainId("account", name), STATE, b"1", None) for name in UNSTORABLE]
    items += [Write(ANN, name, b"1", None) for name in UNSTORABLE]
    items += [write(ANN, payload, None) for payload in (b'"\\u0000"', b'"\xff"')]
    items.append(write(ANN, None, None, IndexEntry("f", 1)))
    items.append(write(ANN, b"1", None, IndexEntry("f", 1), IndexEntry("f", 2)))
    items.append(Write(ANN, STATE, b"1", None, events=(JournalEvent("opened", b"1"),)))
    return [writes(item) for item in items]


def hostile_reminders() -> list[ChangeSet]:
    """Each with one reminder that is refused."""
    rows = [reminder(GrainId("account", name), "r", "e") for name in ("nul\0",)]
    rows += [reminder(ANN, name, "e") for name in UNSTORABLE]
    rows += [reminder(ANN, "r", etag) for etag in ("", *UNSTORABLE)]
    rows += [reminder(ANN, "r", "e", due=due) for due in (-1, 2**53, 2**70)]
    rows += [reminder(ANN, "r", "e", entry=entry) for entry in (b'"\\u0000"', b'"\xff"')]
    rows += [ReminderRow(ANN, "r", slot, 1, b"1", "e") for slot in (-1, SLOTS)]
    return [ChangeSet(None, reminders=(put(row),)) for row in rows]


def hostile_answers() -> list[ChangeSet]:
    """Each with one answer that is refused."""
    answers = [Received(ANN, "id", b"1", keep) for keep in (0, -1, math.nan, math.inf, 1e12)]
    answers += [Received(ANN, name, b"1", 9) for name in UNSTORABLE]
    answers += [Received(ANN, "id", result, 9) for result in (b'"\\u0000"', b'"\xff"')]
    return [ChangeSet(None, received=(answer,)) for answer in answers]


def doubles() -> list[ChangeSet]:
    """Each names one thing twice, or holds a kind of item that stores do not keep yet."""
    one, answer, row = write(ANN, b"1", None), Received(ANN, "id", b"1", 9), reminder(ANN, "r", "e")
    return [
        writes(one, one),
        ChangeSet(None, (one,), (Check(ANN, STATE, None),)),
        ChangeSet(None, checks=(Check(ANN, STATE, None), Check(ANN, STATE, None))),
        ChangeSet(None, received=(answer, answer)),
        ChangeSet(None, reminders=(put(row), put(row))),
        ChangeSet(None, appends=(Append("log", 0, "key", "kind", b"1"),)),
    ]


async def refused(operation: Awaitable[object]) -> str:
    """Expect that an operation is refused as invalid; the text of its error."""
    error = await refusal(operation)
    assert type(error) is StorageError, repr(error)
    return str(error)
