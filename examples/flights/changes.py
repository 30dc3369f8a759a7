"""Tracks which changes of a grain's state are stored. Needed by a grain that answers a repeat from memory."""

from __future__ import annotations

from typing import Any

from grange import PersistentState


class Changes:
    """Counts the changes made to one state, and those that the database has acknowledged.

    A repeated report finds its flight counted in memory. The grain may acknowledge it only when that count is stored:
    otherwise a crash could lose an acknowledged flight. Turns that interleave share writes. Each turn waits for the
    next write, which includes all changes made before it starts.
    """

    def __init__(self, state: PersistentState[Any]) -> None:
        self._state = state
        self._made = 0
        self._stored = 0

    def made(self) -> None:
        """Note that the state was changed."""
        self._made += 1

    async def stored(self) -> None:
        """Return when every change made until now is stored. Raises what `PersistentState.write` raises."""
        made = self._made
        if self._stored < made:
            await self._state.write()
            self._stored = max(self._stored, made)
