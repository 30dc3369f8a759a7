"""Persistent state inside grains (PST)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated

import pytest

from grange import (
    ConfigurationError,
    Grain,
    GrainId,
    InconsistentStateError,
    PersistentState,
    SiloAddress,
    StorageUnavailable,
    Stored,
    WriteOutcomeUnknown,
)
from grange.storage.memory import MemoryStorage
from grange.storage.provider import StateRecord
from grange.storage.sets import Stamp
from grange.testing.cluster import TestCluster


class Recorded:
    """A memory storage that records its calls, and fails before or after the real work on request."""

    def __init__(self) -> None:
        self.inner = MemoryStorage()
        self.calls: list[str] = []
        self.fail_before = ""
        self.fail_after = ""
        self.fail_once = ""

    def _enter(self, verb: str) -> None:
        self.calls.append(verb)
        if self.fail_before == verb:
            raise StorageUnavailable(f"down before {verb}")

    def _leave(self, verb: str) -> None:
        if self.fail_after == verb:
            lost = StorageUnavailable if verb == "read" else WriteOutcomeUnknown
            raise lost(f"down after {verb}")
        if self.fail_once == verb:
            self.fail_once = ""
            raise WriteOutcomeUnknown(f"answer to {verb} lost")

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        self._enter("read")
        record = await self.inner.read(grain_id, state)
        self._leave("read")
        return record

    async def write(
        self,
        grain_id: GrainId,
        state: str,
        payload: bytes,
        etag: str | None,
        schema: int = 1,
        stamp: Stamp | None = None,
    ) -> str:
        self._enter("write")
        new = await self.inner.write(grain_id, state, payload, etag, schema, stamp)
        self._leave("write")
        return new

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        self._enter("clear")
        new = await self.inner.clear(grain_id, state, etag, stamp)
        self._leave("clear")
        return new

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        await self.inner.fence(silos)


@dataclass
class Number:
    value: int = 0


class Store(Grain):
    def __init__(self, state: PersistentState[Number]) -> None:
        self.state = state

    async def get(self) -> int:
        return self.state.value.value

    async def set(self, value: int) -> None:
        self.state.value.value = value
        await self.state.write()

    async def reread(self) -> int:
        await self.state.read()
        return self.state.value.value

    async def try_to_reread(self) -> bool:
        try:
            await self.state.read()
        except StorageUnavailable:
            return False
        return True

    async def try_to_set(self, value: int) -> bool:
        try:
            await self.set(value)
        except StorageUnavailable:
            return False
        return True

    async def delete(self) -> tuple[int, bool]:
        await self.state.clear()
        return self.state.value.value, self.state.exists

    async def finish(self) -> None:
        self.deactivate_when_idle()


STORE = GrainId("store", "a")


async def test_state_is_loaded_before_the_first_method() -> None:
    """PST-01: the first method finds the stored value. An activation costs one read and no write."""
    storage = Recorded()
    await storage.inner.write(STORE, "state", b'{"value":567}', None)
    async with TestCluster([Store], storage=storage) as cluster:
        assert await cluster.get_grain(Store, "a").get() == 567
        assert storage.calls == ["read"]


async def test_each_write_is_one_write() -> None:
    """PST-02: one provider write and no read. An explicit read loads what another writer stored."""
    storage = Recorded()
    async with TestCluster([Store], storage=storage) as cluster:
        grain = cluster.get_grain(Store, "a")
        await grain.set(1)
        await grain.set(2)
        assert storage.calls == ["read", "write", "write"]
        etag = (await storage.inner.read(STORE, "state")).etag
        await storage.inner.write(STORE, "state", b'{"value":42}', etag)
        assert await grain.reread() == 42
        assert storage.calls[3:] == ["read"]


async def test_a_read_error_at_activation_reaches_the_caller() -> None:
    """PST-03: as the provider's own error. Once the storage answers again, so does the grain."""
    storage = Recorded()
    storage.fail_before = "read"
    async with TestCluster([Store], storage=storage) as cluster:
        with pytest.raises(StorageUnavailable, match="down before read"):
            await cluster.get_grain(Store, "a").get()
        storage.fail_before = ""
        await cluster.advance(2)  # the silo checks within this time whether the storage answers again
        assert await cluster.get_grain(Store, "a").get() == 0


async def test_delete_resets_and_a_later_write_needs_no_read() -> None:
    """PST-04: one clear. The value is the default at once, and the next write stores 2."""
    storage = Recorded()
    async with TestCluster([Store], storage=storage) as cluster:
        grain = cluster.get_grain(Store, "a")
        await grain.set(1)
        assert await grain.delete() == (0, False)
        await grain.set(2)
        assert storage.calls == ["read", "write", "clear", "write"]
        await grain.finish()
        assert await grain.get() == 2


async def test_a_failed_read_keeps_the_last_good_value() -> None:
    """PST-05: for a failure before or after the provider's work, if the grain handles it."""
    storage = Recorded()
    async with TestCluster([Store], storage=storage) as cluster:
        grain = cluster.get_grain(Store, "a")
        await grain.set(5)
        for moment in ("fail_before", "fail_after"):
            setattr(storage, moment, "read")
            assert not await grain.try_to_reread()
            assert await grain.get() == 5
            setattr(storage, moment, "")
            await cluster.advance(2)
        assert await grain.reread() == 5


async def test_a_failed_write_keeps_the_store_and_the_attempt() -> None:
    """PST-06: the store still holds 62. Memory holds 63 until the grain reads again, if the grain handles the error."""
    storage = Recorded()
    async with TestCluster([Store], storage=storage) as cluster:
        grain = cluster.get_grain(Store, "a")
        await grain.set(62)
        storage.fail_before = "write"
        assert not await grain.try_to_set(63)
        assert (await storage.inner.read(STORE, "state")).payload == b'{"value":62}'
        assert await grain.get() == 63
        assert await grain.reread() == 62


async def test_an_error_after_the_write_leaves_the_new_value_stored() -> None:
    """PST-07: the call fails as unknown although the store holds 83. Its activation ends, so the next one loads 83."""
    storage = Recorded()
    async with TestCluster([Store], storage=storage) as cluster:
        grain = cluster.get_grain(Store, "a")
        storage.fail_after = "write"
        with pytest.raises(WriteOutcomeUnknown):
            await grain.set(83)
        storage.fail_after = ""
        assert (await storage.inner.read(STORE, "state")).payload == b'{"value":83}'
        await cluster.advance(2)
        assert await grain.get() == 83
        await grain.set(84)
        assert (await storage.inner.read(STORE, "state")).etag == "2"


async def test_a_storage_answer_that_is_lost_once_fails_no_call() -> None:
    """F23: the state finds that the write was applied. It is neither lost nor doubled, and the activation stays."""
    storage = Recorded()
    async with TestCluster([Store], storage=storage) as cluster:
        grain = cluster.get_grain(Store, "a")
        await grain.set(82)
        storage.fail_once = "write"
        await grain.set(83)
        await grain.set(84)
        record = await storage.inner.read(STORE, "state")
        assert (record.payload, record.etag) == (b'{"value":84}', "3")
        assert storage.calls.count("write") == 4


async def test_a_lost_race_drops_only_that_activation() -> None:
    """InconsistentStateError reaches the caller. The next call loads the stored state. Other activations stay."""
    storage = Recorded()
    async with TestCluster([Store], storage=storage) as cluster:
        grain, other = cluster.get_grain(Store, "a"), cluster.get_grain(Store, "b")
        await grain.set(1)
        await other.set(1)
        kept = cluster.activation(other)
        etag = (await storage.inner.read(STORE, "state")).etag
        await storage.inner.write(STORE, "state", b'{"value":42}', etag)
        with pytest.raises(InconsistentStateError) as caught:
            await grain.set(2)
        assert caught.value.stored != caught.value.given
        assert await grain.get() == 42
        assert cluster.activation(other) is kept


class Orders(Grain):
    def __init__(self, state: Annotated[PersistentState[Number], Stored(provider="orders")]) -> None:
        self.state = state

    async def get(self) -> int:
        return self.state.value.value


async def test_a_storage_that_is_not_configured_is_named() -> None:
    """PST-10: already the silo's start fails; the error names the missing provider and the existing ones."""
    with pytest.raises(ConfigurationError, match=r"Orders.*'state'.*storage 'orders'.*it has: default"):
        async with TestCluster([Orders]):
            raise AssertionError("it must not start")


@dataclass
class Friends:
    names: list[Person] = field(default_factory=list)


class Person(Grain):
    def __init__(self, friends: PersistentState[Friends]) -> None:
        self.friends = friends

    async def befriend(self, other: Person) -> None:
        self.friends.value.names.append(other)
        await self.friends.write()
        self.deactivate_when_idle()

    async def name(self) -> str:
        return self.key

    async def friends_names(self) -> list[str]:
        return [await friend.name() for friend in self.friends.value.names]


async def test_references_in_state_are_callable_after_reload() -> None:
    """PST-11: a reference is stored, loaded by another activation, and called."""
    async with TestCluster([Person]) as cluster:
        ann, bob = cluster.get_grain(Person, "ann"), cluster.get_grain(Person, "bob")
        await ann.befriend(bob)
        assert await ann.friends_names() == ["bob"]


class Leaky(Grain):
    def __init__(self, state: PersistentState[Number]) -> None:
        self.state = state

    async def leak(self) -> None:
        LEAKED.append(self.state)


LEAKED: list[PersistentState[Number]] = []


async def test_state_is_refused_outside_its_activation() -> None:
    """PST-15: an operation outside the activation raises and does not reach the storage."""
    storage = Recorded()
    async with TestCluster([Leaky], storage=storage) as cluster:
        await cluster.get_grain(Leaky, "a").leak()
        state = LEAKED.pop()
        for operation in (state.write, state.read, state.clear):
            with pytest.raises(RuntimeError, match="belongs to its activation"):
                await operation()
        assert storage.calls == ["read"]


class Two(Grain):
    def __init__(
        self,
        plain: PersistentState[Number],
        other: Annotated[PersistentState[Number], Stored("special", provider="orders")],
    ) -> None:
        self.plain = plain
        self.other = other

    async def set(self, plain: int, other: int) -> None:
        self.plain.value.value, self.other.value.value = plain, other
        await self.plain.write()
        await self.other.write()


async def test_named_states_use_their_own_storages() -> None:
    """PST-16: one has its parameter's name and the default storage, the other a name and storage of its own."""
    default, orders = MemoryStorage(), MemoryStorage()
    async with TestCluster([Two], storage=default, storages={"orders": orders}) as cluster:
        await cluster.get_grain(Two, "t").set(1, 2)
    two = GrainId("two", "t")
    assert (await default.read(two, "plain")).payload == b'{"value":1}'
    assert (await orders.read(two, "special")).payload == b'{"value":2}'
    assert (await default.read(two, "special")).payload is None


def test_a_grain_is_a_plain_class_in_a_unit_test() -> None:
    """It is built directly, with a detached state. Members that need an identity raise."""
    store = Store(PersistentState.detached(Number(5)))
    assert store.state.value.value == 5
    with pytest.raises(RuntimeError, match="outside a silo"):
        _ = store.key


class Odd:
    """A type that cannot be stored."""


async def test_states_that_cannot_be_served_stop_the_start() -> None:
    """A state without a default or of a type that cannot be stored fails the silo's start, with class and parameter."""

    class NoDefault(Grain, name="no_default"):
        def __init__(self, state: PersistentState[StateRecord]) -> None: ...

    class NotStorable(Grain, name="not_storable"):
        def __init__(self, state: PersistentState[Odd]) -> None: ...

    class NotInjected(Grain, name="not_injected"):
        def __init__(self, something: Odd) -> None: ...

    for cls, text in ((NoDefault, "NoDefault.*state"), (NotStorable, "Odd"), (NotInjected, "something")):
        with pytest.raises(ConfigurationError, match=text):
            async with TestCluster([cls]):
                pass
