"""A grain's set of observers forgets those that expire or fail, and keeps those that subscribe again (OBS)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from grange import Grain, GrainObserver, ObserverSet, PersistentState
from grange.client.client import Client
from grange.testing.cluster import TestCluster


class Rejected(Exception):
    """An error of the application, known on both sides."""


class Watcher(GrainObserver, errors=[Rejected]):
    async def ask(self, text: str) -> str: ...


class Notes(Watcher):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, text: str) -> str:
        self.asked.append(text)
        return f"{text}!"


class Refuses(Watcher):
    async def ask(self, text: str) -> str:
        raise Rejected(text)


class Room(Grain):
    """Notifies a set of observers."""

    def __init__(self) -> None:
        self.watchers: ObserverSet[Watcher] = ObserverSet(60, limit=20)

    async def join(self, watcher: Watcher, key: str | None = None) -> int:
        self.watchers.subscribe(watcher, key=key)
        return len(self.watchers)

    async def leave(self, watcher: Watcher) -> bool:
        return self.watchers.unsubscribe(watcher)

    async def say(self, text: str, to: list[Watcher] | None = None) -> list[str]:
        failed = await self.watchers.notify(
            lambda each: each.ask(text), None if to is None else lambda each: each in to
        )
        return sorted(type(error).__name__ for error in failed.values())

    async def size(self) -> int:
        return len(self.watchers)

    async def members(self) -> list[Watcher]:
        return list(self.watchers)

    async def expire_after(self, seconds: float) -> None:
        self.watchers.duration = seconds

    async def clear_expired(self) -> int:
        return self.watchers.clear_expired()


async def test_expired_observers_leave_the_set() -> None:
    """OBS-10: not notified, dropped; a shorter duration applies to members; a predicate limits who is notified."""
    async with TestCluster([Room]) as cluster:
        room = cluster.get_grain(Room, "r")
        notes = [Notes() for _ in range(10)]
        references = [cluster.client.create_observer(each) for each in notes]
        for reference in references[:5]:
            await room.join(reference)
        await cluster.advance(40)
        for reference in references[5:]:
            await room.join(reference)
        assert await room.say("all") == []
        assert [each.asked for each in notes] == [["all"]] * 10
        await cluster.advance(30)
        assert len(await room.members()) == 5
        assert await room.clear_expired() == 5
        assert await room.say("half") == []
        assert [each.asked for each in notes] == [["all"]] * 5 + [["all", "half"]] * 5
        await room.say("two", references[7:9])
        assert [len(each.asked) for each in notes] == [1] * 5 + [2, 2, 3, 3, 2]
        await room.expire_after(1)
        assert await room.say("none") == []
        assert await room.size() == 0
        with pytest.raises(ValueError, match="duration=0"):
            await room.expire_after(0)


async def test_subscribing_again_refreshes() -> None:
    """OBS-11: the count stays one, the age begins anew, and a key may name another observer."""
    async with TestCluster([Room]) as cluster:
        room = cluster.get_grain(Room, "r")
        notes, other = Notes(), Notes()
        reference = cluster.client.create_observer(notes)
        assert await room.join(reference) == 1
        await cluster.advance(50)
        assert await room.join(reference) == 1
        await cluster.advance(50)
        assert await room.say("still") == []
        assert notes.asked == ["still"]
        assert await room.join(reference, "ann") == 2
        assert await room.leave(reference)
        assert not await room.leave(reference)
        assert await room.join(cluster.client.create_observer(other), "ann") == 1
        await room.say("ann")
        assert (notes.asked, other.asked) == (["still"], ["ann"])


async def test_failed_observers_leave_the_set() -> None:
    """An observer that raises, one that is deleted, and one whose client died; the others get their notification."""
    async with TestCluster([Room]) as cluster:
        room = cluster.get_grain(Room, "r")
        good, bad, deleted = Notes(), Refuses(), Notes()
        references = [cluster.client.create_observer(each) for each in (good, bad, deleted)]
        for reference in references:
            await room.join(reference)
        cluster.client.delete_observer(references[2])
        transport = cluster.new_transport("closes")
        async with Client([cluster.silos[0].gateway], transport=transport, rng=cluster.random) as client:
            await client.get_grain(Room, "r").join(client.create_observer(Notes()))
        assert await room.size() == 4
        assert await room.say("x") == ["ObserverGone", "ObserverGone", "Rejected"]
        assert await room.members() == references[:1]
        assert await room.say("y") == []
        assert good.asked == ["x", "y"]


async def test_a_set_is_bounded() -> None:
    """Callers cannot fill the memory of a silo; references to grains are refused."""
    async with TestCluster([Room]) as cluster:
        room = cluster.get_grain(Room, "r")
        for _ in range(20):
            await room.join(cluster.client.create_observer(Notes()))
        with pytest.raises(OverflowError, match="20 observers have subscribed already"):
            await room.join(cluster.client.create_observer(Notes()))
        await cluster.advance(61)
        assert await room.join(cluster.client.create_observer(Notes())) == 1
    observers: Any = ObserverSet()
    for wrong in (Notes(), 1):
        with pytest.raises(TypeError, match="subscribe takes a reference to an observer"):
            observers.subscribe(wrong)
    with pytest.raises(ValueError, match="limit=0"):
        ObserverSet[Watcher](limit=0)


@dataclass
class Kept:
    watchers: list[Watcher] = field(default_factory=list)


class Remembers(Grain, idle_timeout=1):
    """Keeps its observers in the state."""

    def __init__(self, state: PersistentState[Kept]) -> None:
        self.state = state
        self.watchers: ObserverSet[Watcher] = ObserverSet()

    async def on_activate(self) -> None:
        for watcher in self.state.value.watchers:
            self.watchers.subscribe(watcher)

    async def join(self, watcher: Watcher) -> None:
        self.watchers.subscribe(watcher)
        self.state.value.watchers = list(self.watchers)
        await self.state.write()

    async def say(self, text: str) -> int:
        return len(await self.watchers.notify(lambda each: each.ask(text)))


async def test_references_to_observers_are_stored() -> None:
    """An activation that ends and comes again notifies the observers that it stored."""
    async with TestCluster([Remembers]) as cluster:
        notes = Notes()
        grain = cluster.get_grain(Remembers, "r")
        await grain.join(cluster.client.create_observer(notes))
        await cluster.advance(200)
        assert cluster.count(Remembers) == 0
        assert await grain.say("again") == 0
        assert notes.asked == ["again"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda each: each.asks("x"), AttributeError, "has no 'asks'; it has: ask"),
        (lambda each: None, TypeError, "returns a call, not None"),
        ("ask", TypeError, "not callable"),
    ],
)
async def test_a_mistake_of_the_grain_removes_no_observer(call: Any, error: type[Exception], says: str) -> None:
    """A name that is spelt wrongly fails at each observer; the set must not forget them all in silence."""
    async with TestCluster([Room]) as cluster:
        watchers: ObserverSet[Watcher] = ObserverSet(60)
        for _ in range(3):
            watchers.subscribe(cluster.client.create_observer(Notes()))
        with pytest.raises(error, match=says):
            await watchers.notify(call)
        assert len(watchers) == 3
