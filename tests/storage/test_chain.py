"""Activations that race for one record, with lost answers and fences: acknowledged writes are never lost (I1, I2)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from grange.errors import InconsistentStateError, StorageUnavailable, WriteOutcomeUnknown
from grange.membership.model.member import SiloStatus
from grange.observability.events import Events
from grange.storage.guards.stores import GuardDeps, StorageGuards
from grange.storage.states.state import PersistentState
from grange.storage.states.store import StateStore
from grange.testing.contracts.storage_samples import ANN, JsonForm
from grange.testing.loop import VirtualTime
from tests.storage.faults import FaultyStorage
from tests.storage.guard_bench import TIMEOUT, silo, view

SILOS = st.integers(0, 2)


class Chain(RuleBasedStateMachine):
    """Three silos, each with an activation of one grain: more than may exist. Each write adds a number to a list."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = FaultyStorage()
        self.guards = self.loop.run_until_complete(self.make_guards())
        self.states: dict[int, PersistentState[list[int]]] = {}
        self.acknowledged: list[int] = []
        self.tried: set[int] = set()
        self.refused: set[int] = set()
        self.fenced: set[int] = set()
        self.versions = 0
        self.number = 0

    async def make_guards(self) -> list[StorageGuards]:
        deps = [GuardDeps(silo(number), random.Random(number), TIMEOUT, Events()) for number in range(3)]
        return [StorageGuards({"default": self.store}, each) for each in deps]

    def run(self, operation: Coroutine[Any, Any, None]) -> None:
        async def whole() -> None:
            with VirtualTime(asyncio.get_running_loop()).installed():
                for guards in self.guards:
                    await guards.__aenter__()
                try:
                    await operation
                finally:
                    for guards in self.guards:
                        await guards.__aexit__(None, None, None)

        self.loop.run_until_complete(whole())

    @rule(who=SILOS)
    def activate(self, who: int) -> None:
        guards = self.guards[who]
        store = StateStore(guards.storages["default"], guards.stamps.next)
        made = self.states[who] = PersistentState(store, ANN, "s", JsonForm[list[int]](list[int]), list)
        self.run(made.load())

    @rule(who=SILOS, lost=st.integers(0, 2), endless=st.booleans(), arrives=st.booleans())
    def write(self, who: int, lost: int, endless: bool, arrives: bool) -> None:
        if who not in self.states:
            return
        self.store.lost = 1_000 if endless and lost else lost
        if lost and not arrives:
            self.store.fail_before, self.store.lost = WriteOutcomeUnknown("lost on its way"), 0
        self.number += 1
        self.run(self.append(who, self.number))
        self.store.lost, self.store.fail_before = 0, None

    @rule(who=SILOS, by=SILOS)
    def declare_dead(self, who: int, by: int) -> None:
        if who == by:
            return
        self.versions += 1

        async def record() -> None:
            self.guards[by].on_view(view(self.versions, **{f"silo{who}": SiloStatus.DEAD}))
            await self.guards[by].storages["default"].read(ANN, "s")

        self.run(record())
        self.fenced.add(who)

    async def append(self, who: int, number: int) -> None:
        state = self.states[who]
        before = list(state.value)
        state.value.append(number)
        self.tried.add(number)
        try:
            await state.write()
        except InconsistentStateError:
            self.refused.add(number)
            del self.states[who]  # the runtime drops the activation
        except WriteOutcomeUnknown:
            if number % 2:  # otherwise the grain catches the error and goes on
                del self.states[who]
        except StorageUnavailable:
            self.refused.add(number)
            state.value = before
        else:
            assert who not in self.fenced
            self.acknowledged += [each for each in state.value if each not in self.acknowledged]

    @invariant()
    def nothing_acknowledged_is_lost_and_nothing_refused_is_there(self) -> None:
        record = self.store.inner._records.get((ANN, "s"))
        form = JsonForm[list[int]](list[int])
        stored = [] if record is None or record.payload is None else form.read(record.payload, 1)[0]
        assert set(self.acknowledged) <= set(stored)
        assert not self.refused & set(stored)
        assert len(set(stored)) == len(stored)
        assert stored == sorted(stored)
        assert set(stored) <= self.tried

    def teardown(self) -> None:
        self.loop.close()


TestChain = Chain.TestCase
TestChain.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
