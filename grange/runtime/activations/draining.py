"""How a silo that stops gets rid of its activations: the idle ones first, and only so many ends at a time.

Until its turn comes an activation goes on serving; its end is the only pause in which a call has to look elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from typing import cast

from grange.errors import SiloStopped
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Reason
from grange.runtime.activations.activation import Activation
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.refusal import Refused

log = logging.getLogger("grange.runtime")

AT_ONCE = 100
"""Idle activations that end at the same time: enough to hide the waiting for stores and the directory, and few enough
that neither is flooded. What was busy ends with its last turn, whatever else ends then."""

CANCELLED_TURN = 5.0
"""Seconds that a cancelled turn may take to end."""

NAMED = 10
"""Turns that are named one by one when they will not end; of more, the number is told."""

STOPPING = "the silo is stopping"

Elsewhere = Callable[[GrainId], SiloAddress | None]
"""Where a grain is to be looked for that this silo no longer takes; None: nobody knows."""


class Ends:
    """The ends of activations that are under way."""

    def __init__(self) -> None:
        self._running = 0
        self._fewer = asyncio.Event()

    def began(self) -> None:
        """One more."""
        self._running += 1

    def ended(self) -> None:
        """One less."""
        self._running -= 1
        self._fewer.set()

    async def room(self) -> None:
        """Wait until fewer than `AT_ONCE` are under way."""
        while self._running >= AT_ONCE:
            self._fewer.clear()
            await self._fewer.wait()


async def end_all(activations: Collection[Activation], ends: Ends) -> None:
    """Have all of them end: what is idle in turn, then what is busy after its running requests. Does not wait for the
    last ones.
    """
    busy: list[Activation] = []
    for activation in activations:
        await ends.room()
        if activation.idle:
            activation.deactivate(STOPPING)
        else:
            busy.append(activation)
    for activation in busy:
        await ends.room()
        activation.deactivate(STOPPING)


def cancel_turns(activations: Iterable[Activation], here: SiloAddress) -> list[Invocation]:
    """Cancel every turn that runs, and tell its caller at once. Returns them; await `ended`.

    A turn that waits at the closed gate, or whose task has not run yet, has executed nothing: its request is refused.
    """
    running = [call for each in activations for call in cast("list[Invocation]", each.mailbox.running)]
    for call in running:
        if not call.entered:
            call.refuse(Refused(Reason.NOT_READY, f"silo {here} stopped before it could start"))
            call.gone = True
        else:
            call.lose(SiloStopped(f"silo {here} stopped while it ran {call.grain_id}.{call.method}"))
        if call.task is not None:
            call.task.cancel()
    return running


async def ended(turns: list[Invocation], here: SiloAddress) -> None:
    """Wait for the ends of cancelled turns, at most `CANCELLED_TURN`.

    Code that will not be cancelled is left behind, or the silo would never stop.
    """
    tasks = [call.task for call in turns if call.task is not None and not call.task.done()]
    if tasks:
        await asyncio.wait(tasks, timeout=CANCELLED_TURN)
    stubborn = [call for call in turns if call.task is not None and not call.task.done()]
    for call in stubborn[:NAMED]:
        more = f", one of {len(stubborn)} such turns" if len(stubborn) > 1 else ""
        log.error(
            "silo %s: %s.%s does not end although it was cancelled %g s ago%s; it is left behind",
            here, call.grain_id, call.method, CANCELLED_TURN, more,
            extra={"event": "turn_would_not_end", "grain_type": call.grain_id.type, "method": call.method},
        )  # fmt: skip
