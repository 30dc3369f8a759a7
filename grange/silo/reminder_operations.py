"""The acts about reminders and jobs, and the answer to the question which there are.

The silo that owns a grain's slot acts; any silo with the store answers for one grain, and for its own slots.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from grange.proto.acts import Act, Action, Level
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.inspection import REMINDERS, FindReminders, FoundReminders
from grange.proto.management import encode
from grange.reminders.operators import NoFailure
from grange.runtime.system_target import SystemTargets
from grange.silo.operation import Done, Found, NotDone, Operation, values_of
from grange.silo.reminders import SiloReminders


class ReminderValues(msgspec.Struct, forbid_unknown_fields=True):
    """The values of CANCEL_REMINDER and RETRY_REMINDER: the name of a reminder, the id of a job, or its row's name."""

    name: str


class ReminderOperations:
    """The acts of one silo about reminders, and its answer."""

    def __init__(self, address: SiloAddress, reminders: SiloReminders) -> None:
        self._address = address
        self._reminders = reminders

    def all(self) -> Mapping[Action, Operation]:
        """Every action with its role."""
        return {
            Action.CANCEL_REMINDER: Operation(Level.OPERATOR, True, self._find_own, self._cancel),
            Action.RETRY_REMINDER: Operation(Level.OPERATOR, False, self._find_own, self._retry),
        }

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target."""
        targets.serve(REMINDERS, self._answer, Level.VIEWER)

    async def find(self, question: FindReminders) -> FoundReminders:
        """The reminders of a grain, or of the slots of this silo. Raises StorageError."""
        operators = self._reminders.operators
        if operators is None:
            return FoundReminders(self._address, (), 0.0)
        rows, now, more = await operators.find(question, self._reminders.slots)
        return FoundReminders(self._address, tuple(rows), now, more)

    async def _answer(self, question: bytes) -> bytes:
        return encode(await self.find(msgspec.msgpack.decode(question, type=FindReminders)))

    def _find_own(self, act: Act) -> Found:
        grain_id, name = _named(act)
        if self._reminders.operators is None or self._reminders.owner(grain_id) != self._address:
            raise NotDone(f"this silo does not deliver the reminders of {act.target!r}")
        verb = "is cancelled" if act.action is Action.CANCEL_REMINDER else "is delivered again now, if it has failed"
        return Found(f"the reminder {name!r} of {act.target!r} {verb}")

    async def _cancel(self, act: Act) -> Done:
        grain_id, name = _named(act)
        operators = self._reminders.operators
        if operators is None or not await operators.cancel(grain_id, name):
            raise NotDone(f"{act.target!r} has no reminder or job {name!r}")
        return Done(f"{name!r} of {act.target!r} is cancelled", 1)

    async def _retry(self, act: Act) -> Done:
        grain_id, name = _named(act)
        assert self._reminders.operators is not None, "it was found a moment ago"
        try:
            await self._reminders.operators.retry(grain_id, name)
        except NoFailure as error:
            raise NotDone(str(error)) from None
        return Done(f"{name!r} of {act.target!r} is delivered again", 1)


def _named(act: Act) -> tuple[GrainId, str]:
    grain_type, slash, key = act.target.partition("/")
    if not (grain_type and slash and key):
        raise NotDone(f"name a grain as type/key, not {act.target!r}")
    return GrainId(grain_type, key), values_of(act, ReminderValues).name
