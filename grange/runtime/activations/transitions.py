"""Activations that begin or end while their code may wait: that code may ignore its cancellation, and hang for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from grange.proto.ids import GrainId
from grange.runtime.activations.hosted import Built


class Transient(Protocol):
    """The activation that begins or ends: `activation.py` implements it."""

    grain_id: GrainId


class Transition:
    """One beginning or end of an activation, in the task that made this object.

    `began`: gate time; `timeout`: cancels its code after `limit` seconds; `built`: what exists of the grain.
    `leave(transition)` ends the activation without that task.
    """

    __slots__ = ("activation", "began", "built", "leave", "limit", "task", "timeout", "verb")

    def __init__(
        self, activation: Transient, verb: str, began: float, limit: float, leave: Callable[[Transition], None]
    ) -> None:
        self.activation = activation
        self.verb = verb
        self.began = began
        self.limit = limit
        self.leave = leave
        self.timeout = asyncio.timeout(limit)
        self.task = asyncio.current_task()
        self.built: Built | None = None

    @property
    def grain_id(self) -> GrainId:
        """The grain."""
        return self.activation.grain_id
