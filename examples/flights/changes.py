"""Which changes of a grain's state are stored? Needed where a repeat is answered from memory."""

from __future__ import annotations

from typing import Any

from grange import PersistentState


class Changes:
    """The changes made to one state, and how many of them the database has acknowledged.

    A repeated report finds its flight counted in memory; it may be acknowledged only when that count is stored, or a
    crash could lose what was acknowledged. Turns that interleave share writes: each waits for the next write, which
    takes along all that was changed before it starts.
    """

    def __init__(self, state: PersistentState[Any]) -> None:
        self._state = state
        self._made = 0
        self._stored = 0

    def made(self) -> None:
        """The state was changed."""
        self._made += 1

    async def stored(self) -> None:
        """Return when every change made until now is stored. Raises what `PersistentState.write` raises."""
        made = self._made
        if self._stored < made:
            await self._state.write()
            self._stored = max(self._stored, made)
