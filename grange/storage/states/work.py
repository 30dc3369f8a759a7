"""What one turn changes in the states of its grain, stored in one change set or dropped (`grains/work.py`).

A state that the turn leaves as it was is only checked, if others are stored: so what the turn read is still stored at
the moment of the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import msgspec

from grange.errors import InconsistentStateError, StorageError, WriteOutcomeUnknown
from grange.grains.work import Answer
from grange.proto.ids import GrainId
from grange.storage.sets import ChangeSet, Received, ReminderChange
from grange.storage.states.form import Written
from grange.storage.states.state import PersistentState

State = PersistentState[Any]
Changed = dict[State, Written]


class StateWork:
    """The states of one activation while a transactional turn runs, with their values from before."""

    __slots__ = ("_before", "_reminders", "_states")

    def __init__(self, states: Sequence[State], before: Sequence[Written]) -> None:
        self._states = states
        self._before = before
        self._reminders: dict[tuple[GrainId, str], tuple[ReminderChange, Callable[[], None]]] = {}

    @classmethod
    async def begin(cls, states: Sequence[State]) -> Self:
        """Wait for the operations of earlier turns, then hold the states. Raises StorageError."""
        while busy := [state for state in states if state.operations.busy]:
            await busy[0].operations.settle()
        work = cls(states, [state.snapshot() for state in states])
        for state in states:
            state.hold(True)
        return work

    async def kept(self, id: str) -> bytes | None:
        """See `Work`."""
        home = self._states[0]
        assert home.store.sets is not None, "checked at the silo's start"
        return await home.store.sets.received(home.grain_id, id)

    async def commit(self, answer: Answer | None) -> None:
        """See `Work`."""
        try:
            changed = self._changed()
            changes = self._set_of(changed, answer)
        except StorageError:
            self.roll_back()
            raise
        if changes is not None:
            await self._store(changed, changes)
            for _, stored in self._reminders.values():
                stored()

    def add(self, change: ReminderChange, store: object, stored: Callable[[], None]) -> None:
        """See `Work`."""
        if any(state.store.sets is not store for state in self._states):
            raise StorageError(
                f"a @transactional turn of {self._states[0].grain_id} changes the reminder {change.name!r}, which is "
                "kept in another storage than its states, and cannot be stored with them in one step: name their "
                "storage in the option reminders.provider, or change it in another call"
            )
        name = change.grain_id, change.name
        if name in self._reminders:  # both are one change of what is stored now
            change = msgspec.structs.replace(change, held=self._reminders[name][0].held)
        self._reminders[name] = change, stored

    def roll_back(self) -> None:
        """See `Work`."""
        for state, before in zip(self._states, self._before, strict=True):
            state.restore(before)

    def end(self) -> None:
        """See `Work`."""
        for state in self._states:
            state.hold(False)

    def _changed(self) -> Changed:
        """The states that the turn has changed, as they are to be stored."""
        new = [(state, state.snapshot()) for state in self._states]
        changed = {
            state: now for (state, now), before in zip(new, self._before, strict=True) if now.payload != before.payload
        }
        if len({state.store for state in changed}) > 1:
            raise StorageError(
                f"a @transactional turn of {self._states[0].grain_id} changed states in several storages, which cannot "
                f"be stored in one step: {', '.join(state.label for state in changed)}; nothing was stored. Keep them "
                f"in one storage, or change them in two calls"
            )
        return changed

    def _set_of(self, changed: Changed, answer: Answer | None) -> ChangeSet | None:
        """What is to be stored; None if the turn has changed nothing."""
        if not changed and answer is None and not self._reminders:
            return None
        home = next(iter(changed), self._states[0])
        others = [state for state in self._states if state.store is home.store and state not in changed]
        received = () if answer is None else (Received(home.grain_id, answer.id, answer.result, answer.keep),)
        return ChangeSet(
            home.store.stamp(),
            tuple(state.written(new) for state, new in changed.items()),
            tuple(state.checked() for state in others),
            received,
            tuple(change for change, _ in self._reminders.values()),
        )

    async def _store(self, changed: Changed, changes: ChangeSet) -> None:
        lead = next(iter(changed), self._states[0])
        try:
            await lead.operations.run(lambda: _send(lead, changed, changes))
        except (InconsistentStateError, WriteOutcomeUnknown) as error:
            lead.lost(error)  # memory is out of date, or may be
            raise
        except StorageError:
            self.roll_back()  # certainly not stored: memory is as before, and the activation goes on
            raise
        except BaseException as error:  # this turn does not learn whether it was stored
            lead.lost(error)
            raise


async def _send(lead: State, changed: Changed, changes: ChangeSet) -> None:
    sets = lead.store.sets
    assert sets is not None, "checked at the silo's start"
    committed = await sets.commit(changes)
    for (state, new), etag in zip(changed.items(), committed.etags, strict=True):
        state.adopt(new, etag)
