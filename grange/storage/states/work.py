"""What one turn changes in the states of its grain, stored in one change set or dropped (`grains/work.py`).

A state that the turn leaves as it was is only checked, if others are stored: so what the turn read is still stored at
the moment of the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import msgspec

from grange.errors import InconsistentStateError, StorageError, WriteOutcomeUnknown
from grange.grains.work import Answer, Settled
from grange.proto.ids import GrainId
from grange.storage.sets import ChangeSet, Received, ReminderChange
from grange.storage.states.form import Written
from grange.storage.states.state import PersistentState

State = PersistentState[Any]
Changed = dict[State, Written]


class _Reminder(NamedTuple):
    """A change of a reminder, the store that keeps it, and what follows when it is stored."""

    store: object
    change: ReminderChange
    settled: Settled


class StateWork:
    """The states of one activation while a transactional turn runs, with their values from before."""

    __slots__ = ("_before", "_reminders", "_states")

    def __init__(self, states: Sequence[State], before: Sequence[Written]) -> None:
        self._states = states
        self._before = before
        self._reminders: dict[tuple[GrainId, str], _Reminder] = {}

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
        except Exception:  # also of the author's code, which takes part when a value is encoded and compared
            self.roll_back()
            raise
        if changes is not None:
            await self._store(changed, changes)

    def add(self, store: object, change: ReminderChange, settled: Settled) -> None:
        """See `Work`."""
        place = change.grain_id, change.name
        earlier = self._reminders.pop(place, None)
        if earlier is not None:
            change = msgspec.structs.replace(change, held=earlier.change.held)
        if change.held is not None or change.row is not None:  # else it was set and cancelled in this turn
            self._reminders[place] = _Reminder(store, change, settled)

    @property
    def added(self) -> Sequence[ReminderChange]:
        """See `Work`."""
        return [each.change for each in self._reminders.values()]

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
        home = next(iter(changed), self._states[0])
        stores = {id(state.store.sets): state.label for state in (home, *changed)}
        stores |= {id(each.store): f"the reminder {name!r}" for (_, name), each in self._reminders.items()}
        if len(stores) > 1:
            raise StorageError(
                f"a @transactional turn of {home.grain_id} changed what lies in several storages, and cannot be stored "
                f"in one step: {', '.join(stores.values())}; nothing was stored. Keep it in one storage, or change it "
                f"in two calls"
            )
        return changed

    def _set_of(self, changed: Changed, answer: Answer | None) -> ChangeSet | None:
        """What is to be stored; None if the turn has changed nothing."""
        if not changed and answer is None and not self._reminders:
            return None
        home = next(iter(changed), self._states[0])
        home.check_open()
        others = [state for state in self._states if state.store is home.store and state not in changed]
        received = () if answer is None else (Received(home.grain_id, answer.id, answer.result, answer.keep),)
        return ChangeSet(
            home.store.stamp(),
            tuple(state.written(new) for state, new in changed.items()),
            tuple(state.checked() for state in others),
            received,
            tuple(self.added),
        )

    async def _store(self, changed: Changed, changes: ChangeSet) -> None:
        lead = next(iter(changed), self._states[0])
        try:
            await lead.operations.run(lambda: _send(lead, changed, changes))
            self._settle(True)
        except (InconsistentStateError, WriteOutcomeUnknown) as error:
            lead.lost(error)  # memory is out of date, or may be
            self._settle(False)
            raise
        except StorageError:
            self.roll_back()  # certainly not stored: memory is as before, and the activation goes on
            raise
        except BaseException as error:  # this turn does not learn whether it was stored
            lead.lost(error)
            self._settle(False)
            raise

    def _settle(self, stored: bool) -> None:
        for each in self._reminders.values():
            each.settled(stored)


async def _send(lead: State, changed: Changed, changes: ChangeSet) -> None:
    sets = lead.store.sets
    assert sets is not None, "checked at the silo's start"
    committed = await sets.commit(changes)
    for (state, new), etag in zip(changed.items(), committed.etags, strict=True):
        state.adopt(new, etag)
