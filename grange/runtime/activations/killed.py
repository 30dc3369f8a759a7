"""Activations that were killed: marked in one moment, then cleared in portions, then freed of their services."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from grange.aio.portions import PORTION
from grange.errors import SiloStopped
from grange.proto.ids import SiloAddress
from grange.proto.message import Reason
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.hosted import Built
from grange.runtime.requests.refusal import Refused

BATCH = 1000
"""Activations that are cleared before the event loop runs other tasks: a few milliseconds."""


class KilledActivations:
    """The activations that a silo has killed. The catalog marks them; `clear` must follow."""

    def __init__(self) -> None:
        self._dying: deque[Activation] = deque()  # killed and not cleared yet
        self._cleared: list[Built] = []  # their services are still open

    def mark(self, activations: Iterable[Activation], reason: str) -> None:
        """Kill all these, in one moment, so that none starts a turn while another one is cleared."""
        self._dying += [activation for activation in activations if activation.kill(reason)]

    async def clear(self) -> None:
        """Clear those that were killed, also by an earlier call that was cancelled. A refusal wakes a caller."""
        work = 0
        while self._dying:
            activation = self._dying.popleft()
            if activation.built is not None and activation.built.services is not None:
                self._cleared.append(activation.built)
            work += 1 + len(activation.waiting) * BATCH // PORTION
            activation.clear(Refused(Reason.NOT_READY, str(activation.reason)))
            if work >= BATCH:
                work = 0
                await asyncio.sleep(0)

    async def free(self, silo: SiloAddress) -> None:
        """Close the services of all that were cleared. Call it when no task of an activation runs."""
        ended = SiloStopped(f"silo {silo} has ended")
        while self._cleared:
            await self._cleared.pop().free(ended)
            if len(self._cleared) % PORTION == 0:
                await asyncio.sleep(0)
