"""The unit of work of one turn: what a `@transactional` method changes in the facets of its activation.

`runtime/activations/transactions.py` runs it, `storage/states/work.py` implements it for persistent states.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec


class Answer(msgspec.Struct, frozen=True):
    """The answer of a call that is to be kept for `keep` seconds, as JSON text. `id` names the call to its grain."""

    id: str
    result: bytes
    keep: float


Settled = Callable[[bool], None]
"""Gets whether a change is certainly stored."""


class Work(Protocol):
    """The changes of one turn. It begins before the grain's code runs; then comes `commit` or `roll_back`."""

    async def kept(self, id: str) -> bytes | None:
        """The kept answer of the call with this id; None if there is none. Raises StorageError."""
        ...

    async def commit(self, answer: Answer | None) -> None:
        """Store all changes, with the answer, in one step; nothing if there are none.

        Raises StorageError and InconsistentStateError: then the turn's changes are gone from memory, too, or the error
        ends the activation.
        """
        ...

    def add(self, store: object, change: Any, settled: Settled) -> None:
        """Store this change of a reminder in this store with the others. It replaces an earlier one of the turn.

        `settled` is called once it is stored (True), or may be (False), and not if it is dropped.
        """
        ...

    @property
    def added(self) -> Sequence[Any]:
        """The changes of reminders so far."""
        ...

    def roll_back(self) -> None:
        """Give each facet its value from before the turn. Called once at most, not after `commit` returned."""
        ...

    def end(self) -> None:
        """The turn has ended: the facets take other operations again. Called once, at last."""
        ...


class RunsWork(Protocol):
    """The activation of a grain, which runs the calls of its transactional methods."""

    def in_work(self, plan: Any, args: tuple[Any, ...]) -> Awaitable[Any]:
        """Run the method of this plan, and store its changes as a whole."""
        ...
