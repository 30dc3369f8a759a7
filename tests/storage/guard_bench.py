"""One guarded store of one silo under virtual time, shared by the tests of the guards."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from grange.membership.model.member import Member, SiloStatus, View, make_view
from grange.observability.events import Events
from grange.proto.ids import SiloAddress
from grange.storage.guards.stores import GuardDeps, StorageGuards
from grange.storage.provider import GrainStorage
from grange.storage.states.state import PersistentState
from grange.storage.states.store import StateStore
from grange.testing.contracts.storage_samples import ANN, Flight, JsonForm
from grange.testing.loop import VirtualTime
from tests.storage.faults import FaultyStorage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TIMEOUT = 1.8


def silo(number: int, generation: int = 1) -> SiloAddress:
    return SiloAddress("silo", 11000 + number, generation)


ME = silo(0, 5)


def view(version: int, **status: SiloStatus) -> View:
    """`view(3, silo1=DEAD)`: ME is active, and the named silos of generation 1 have these statuses."""
    rows = [Member(ME, SiloStatus.ACTIVE, NOW, NOW)]
    rows += [Member(silo(int(name[4:])), each, NOW, NOW) for name, each in status.items()]
    return make_view(version, rows)


class Bench:
    def __init__(self) -> None:
        self.store = FaultyStorage()
        self.guards = StorageGuards({"default": self.store}, GuardDeps(ME, random.Random(1), TIMEOUT, Events()))

    @property
    def storage(self) -> GrainStorage:
        return self.guards.storages["default"]

    def state(self) -> PersistentState[Flight]:
        """A state as an activation of this silo gets it."""
        store = StateStore(self.storage, self.guards.stamps.next)
        return PersistentState(store, ANN, "state", JsonForm[Flight](Flight), Flight)


@asynccontextmanager
async def a_bench() -> AsyncIterator[Bench]:
    with VirtualTime(asyncio.get_running_loop()).installed():
        bench = Bench()
        async with bench.guards:
            yield bench
