"""An inbox by hand: an event that comes twice has its effect once (`outbox.py` has the events)."""

from __future__ import annotations

from dataclasses import dataclass, field

from examples.recipes.outbox import Event
from grange import Grain, PersistentState, transactional


@dataclass
class Seen:
    """The numbers of handled events: all below `below`, and those in `handled`. So few numbers are enough."""

    below: int = 0
    handled: set[int] = field(default_factory=set)

    def enter(self, event: Event) -> bool:
        """Remember an event; False if it was handled before."""
        if event.number < self.below or event.number in self.handled:
            return False
        self.below = max(self.below, event.oldest)
        self.handled = {number for number in self.handled if number >= self.below} | {event.number}
        return True


@dataclass
class ReportState:
    """The lines of a report, and the events that they come from: the effect and its memory are one record."""

    lines: list[str] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)


class Report(Grain, name="report"):
    """Collects the events of one shop; its key is the shop's, because each shop numbers its own events."""

    def __init__(self, state: PersistentState[ReportState]) -> None:
        self._state = state

    @transactional
    async def note(self, event: Event) -> bool:
        """Note an event; False if it was noted before. May be repeated after any error."""
        if not self._state.value.seen.enter(event):
            return False
        self._state.value.lines.append(event.text)
        return True

    async def lines(self) -> list[str]:
        """All lines."""
        return self._state.value.lines
