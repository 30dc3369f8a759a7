"""The stores of one silo with their guards, and the tasks of the guards. Built by the silo's start-up."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import msgspec

from grange.aio.tasks import Tasks
from grange.errors import InconsistentStateError
from grange.membership.model.member import View
from grange.observability.catalogue import WriteFenced
from grange.observability.counters import StoreFigures
from grange.observability.events import Events
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.guards.breaker import Breaker
from grange.storage.guards.death_recorder import DeathRecorder
from grange.storage.guards.guard import Guard
from grange.storage.guards.guarded import GuardedStorage
from grange.storage.guards.unreadable import UnreadableRows
from grange.storage.provider import GrainStorage
from grange.storage.sets import Stamp

PROBED_RECORD = GrainId("grange-storage-probe", "probe")
"""A record that is never written. Reading it shows whether the store answers."""


Writers = Callable[[SiloAddress], SiloAddress]
"""Names a silo of this cluster in the stores: see `SiloEnvironment.writer`."""


class Stamps:
    """Makes the stamps of one silo, each once.

    `first` is the first number. Where clocks are real it is drawn at random: a clock that was set back, or two machines
    with one endpoint, may give two silos one address, and a store would take the change of one for a repetition of the
    other's.
    """

    def __init__(self, writer: SiloAddress, first: int) -> None:
        self.writer = writer
        self._numbers = itertools.count(first)

    def next(self) -> Stamp:
        """A stamp that no other change has."""
        return Stamp(self.writer, next(self._numbers))


def same_writer(silo: SiloAddress) -> SiloAddress:
    """The identity of a real silo in the stores is its address."""
    return silo


class GuardDeps(msgspec.Struct, frozen=True):
    """`timeout` in seconds bounds an operation. `writer` and `first_change` are those of `SiloEnvironment`."""

    me: SiloAddress
    rng: random.Random
    timeout: float
    events: Events
    writer: Writers = same_writer
    first_change: int = 1


class StorageGuards:
    """Puts one guard before each store; several names of one store share it. Use as `async with`."""

    def __init__(self, storages: Mapping[str, GrainStorage], deps: GuardDeps) -> None:
        self._deps = deps
        self._tasks = Tasks()
        self._recorders: list[DeathRecorder] = []
        self._guarded: list[GuardedStorage] = []
        self._fenced_subscribers: list[Callable[[], None]] = []
        self.stamps = Stamps(deps.writer(deps.me), deps.first_change)
        self.storages: dict[str, GrainStorage] = {}
        """By the names that grains use."""
        self.unreadable: dict[str, UnreadableRows] = {}
        """By the first name of each store."""
        done: list[tuple[GrainStorage, GuardedStorage]] = []
        for name, storage in storages.items():
            known = next((guarded for other, guarded in done if other is storage), None)
            guarded = known or self._guard(name, storage)
            if known is None:
                done.append((storage, guarded))
                self.unreadable[name] = UnreadableRows(name, guarded.figures, deps.events)
            self.storages[name] = guarded

    @property
    def figures(self) -> list[StoreFigures]:
        """The figures of each store, by the first of its names."""
        return [guarded.figures for guarded in self._guarded]

    def subscribe_fenced(self, subscriber: Callable[[], None]) -> None:
        """Have `subscriber` called each time a store refuses a change because this silo's death is recorded in it."""
        self._fenced_subscribers.append(subscriber)

    def on_view(self, view: View) -> None:
        """Subscriber of membership views. State is loaded only after the deaths in `view` are recorded."""
        for recorder in self._recorders:
            recorder.on_view(view)

    async def __aenter__(self) -> Self:
        for recorder in self._recorders:
            self._tasks.start(recorder.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.close()

    def _guard(self, name: str, storage: GrainStorage) -> GuardedStorage:
        deps = self._deps
        recorder = DeathRecorder(storage, name, deps.me, deps.rng, deps.writer, deps.events)

        async def probe() -> None:
            await storage.read(PROBED_RECORD, "probe")

        breaker = Breaker(name, probe, recorder.record_again, deps.rng, self._tasks, deps.events)
        guard = Guard(recorder, breaker, deps.rng, deps.timeout, self._on_fenced)
        guarded = GuardedStorage(storage, name, guard)
        self._recorders.append(recorder)
        self._guarded.append(guarded)
        return guarded

    def _on_fenced(self, error: InconsistentStateError) -> None:
        self._deps.events.publish(WriteFenced(str(error)))
        for subscriber in self._fenced_subscribers:
            subscriber()
