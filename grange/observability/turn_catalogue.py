"""The events of turns that stand in each other's way, declared as in `catalogue.py`."""

from __future__ import annotations

from logging import WARNING

from grange.observability.events import Event


class DeadlockFound(Event, frozen=True):
    """Requests wait for each other in a cycle, so none of them would ever run."""

    NAME, LEVEL, LOGGER = "deadlock_found", WARNING, "runtime"
    SENTENCE = "{grain}.{method} waits for itself, and {outcome}: {cycle}"
    KEY = ("grain_type", "method")
    grain_type: str
    grain: str
    method: str
    cycle: str
    outcome: str
