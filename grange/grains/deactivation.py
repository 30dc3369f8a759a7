"""Why an activation ends: `on_deactivate` gets it, and events, figures and the dashboard show it. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class DeactivationCode(StrEnum):
    """The kinds of reasons for which an activation ends. The values are names in figures and never change."""

    IDLE = "idle"
    """No call came for its idle time-out, or for the time that an operator named."""
    REQUESTED = "requested"
    """The grain called `deactivate_when_idle`."""
    OPERATOR = "operator"
    """An operator deactivated it."""
    STOPPING = "stopping"
    """Its silo drains."""
    MOVED = "moved"
    """It moves to another silo, which continues it."""
    DUPLICATE = "duplicate"
    """Another activation of the grain holds the claim in the directory."""
    OUTDATED = "outdated"
    """Another activation of the grain may have changed its state."""
    VERSION = "version"
    """A caller needs a version of an interface that its silo does not serve, and another silo does."""
    UNSAVED = "unsaved"
    """A change to its state was not stored, and the error left the turn."""
    MEMORY = "memory"
    """The process uses too much memory, and this activation was idle for longest."""
    UNRESPONSIVE = "unresponsive"
    """Its code did not end in time and was left behind. `on_deactivate` does not run."""
    FAILED = "failed"
    """It could not be activated. `on_deactivate` does not run."""
    KILLED = "killed"
    """Its silo ended without a drain. `on_deactivate` does not run."""


class DeactivationReason(msgspec.Struct, frozen=True):
    """Why an activation ends: `code` for programs, `text` for people. `str` gives the text."""

    code: DeactivationCode
    text: str

    def __str__(self) -> str:
        return self.text
