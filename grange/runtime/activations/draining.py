"""Ends all activations of a silo that stops: idle ones first, a bounded number at a time.

Each activation serves calls until it is deactivated. Only while it ends must its callers try another silo.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable

from grange.aio.stacks import waiting_stack
from grange.errors import CallOutcomeUnknown, SiloStopped
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import Reason
from grange.runtime.activations.activation import Activation
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.refusal import Refused

log = logging.getLogger("grange.runtime")

MAX_CONCURRENT_DEACTIVATIONS = 100
"""Most idle activations that end at the same time: enough to overlap the waits for stores and the directory, few enough
not to overload them. A busy activation ends after its last turn; this bound does not delay it."""

CANCEL_TIMEOUT = 5.0
"""Seconds to wait for the end of cancelled turns."""

MAX_LOGGED_TURNS = 10
"""Log at most this many stuck turns by name; each record contains the number of all."""

STOPPING = DeactivationReason(DeactivationCode.STOPPING, "the silo is stopping")
"""The deactivation reason when the silo stops."""

NextSilo = Callable[[GrainId], SiloAddress | None]
"""Returns the silo to try for a grain that this silo no longer takes; None: unknown."""


class Deactivations:
    """Counts the deactivations that are in progress."""

    def __init__(self) -> None:
        self._running = 0
        self._one_ended = asyncio.Event()

    def add(self) -> None:
        """A deactivation starts."""
        self._running += 1

    def remove(self) -> None:
        """A deactivation ended."""
        self._running -= 1
        self._one_ended.set()

    async def wait_for_slot(self) -> None:
        """Wait until fewer than `MAX_CONCURRENT_DEACTIVATIONS` are in progress."""
        while self._running >= MAX_CONCURRENT_DEACTIVATIONS:
            self._one_ended.clear()
            await self._one_ended.wait()


async def deactivate_all(activations: Collection[Activation], in_progress: Deactivations) -> None:
    """Deactivate all: idle ones first, then busy ones, which end after their running requests.

    Does not wait for the last ones to end.
    """
    busy: list[Activation] = []
    for activation in activations:
        await in_progress.wait_for_slot()
        if activation.idle:
            activation.deactivate(STOPPING)
        else:
            busy.append(activation)
    for activation in busy:
        await in_progress.wait_for_slot()
        activation.deactivate(STOPPING)


def cancel_running(activations: Iterable[Activation], address: SiloAddress) -> list[Invocation]:
    """Cancel every running turn and report it to its caller at once. Returns the turns, for `wait_cancelled`.

    A turn that waits at the closed gate, or whose task has not run yet, has executed nothing: its request is refused.
    """
    running = [call for activation in activations for call in activation.running]
    refused = Refused(Reason.NOT_READY, f"silo {address} stopped before it could start")
    for call in running:
        end_turn(call, refused, SiloStopped(f"silo {address} stopped while it ran {call.grain_id}.{call.method}"))
    return running


def end_turn(call: Invocation, refused: Refused, unknown: CallOutcomeUnknown) -> None:
    """Cancel one running turn and report it at once: as `unknown`, or as `refused` if it has executed nothing."""
    if not call.entered:
        call.refuse(refused)
        call.caller_gone = True
    else:
        call.fail_unknown(unknown)
    if call.task is not None:
        call.task.cancel()


async def wait_cancelled(turns: list[Invocation], address: SiloAddress) -> None:
    """Wait until cancelled turns have ended, for at most `CANCEL_TIMEOUT`.

    Turns that ignore the cancellation are logged and left running; otherwise the silo would never stop, or the grain
    never be active again.
    """
    tasks = [call.task for call in turns if call.task is not None and not call.task.done()]
    if tasks:
        await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT)
    stuck = [(call, call.task) for call in turns if call.task is not None and not call.task.done()]
    for call, task in stuck[:MAX_LOGGED_TURNS]:
        total = f", one of {len(stuck)} such turns" if len(stuck) > 1 else ""
        log.error(
            "silo %s: %s.%s did not end within %g s after it was cancelled%s; it is left running, and waits here:\n%s",
            address, call.grain_id, call.method, CANCEL_TIMEOUT, total, waiting_stack(task),
            extra={"event": "turn_would_not_end", "grain_type": call.grain_id.type, "method": call.method},
        )  # fmt: skip
