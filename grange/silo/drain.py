"""The planned stop of one silo, step by step: SIGTERM, `grange drain` and `Silo.stop` all run this.

Each step has a deadline of its own; one that does not end in time is given up with a warning, and the next one begins.
How far it is can be asked through the system target `management.drain`.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from grange.proto.ids import SiloAddress
from grange.runtime.system_target import SystemTargets

log = logging.getLogger("grange.silo")

DRAIN = "management.drain"
"""The service: a `DrainQuestion` in, a `DrainState` out."""


class Phase(enum.StrEnum):
    """Where a silo is on its way out; it only moves forward."""

    SERVING = "serving"
    LEAVING = "leaving"  # telling the others that no grain belongs here any more
    MOVING = "moving"  # idle activations end, running calls end, then theirs
    CANCELLING = "cancelling"  # only if the calls did not end in time
    HANDING_OVER = "handing over"  # what it knows of where grains are
    DISMISSING = "dismissing"  # saying goodbye on every connection
    STOPPED = "stopped"


class DrainQuestion(msgspec.Struct, frozen=True):
    """`begin`: stop, if you have not begun to; otherwise only say how far it is."""

    begin: bool = False


class DrainState(msgspec.Struct, frozen=True):
    """How far a drain is: `activations` and `requests` are those left here, `seconds` since it began."""

    address: SiloAddress
    phase: Phase
    activations: int
    requests: int
    seconds: float


class Step(msgspec.Struct, frozen=True):
    """One step: what to do, and after how many seconds to give it up. `wanted` is asked when its turn comes."""

    phase: Phase
    seconds: float
    run: Callable[[], Awaitable[None]]
    wanted: Callable[[], bool] = lambda: True


class Drain:
    """One silo's drain. `run` it once, in `silo/startup.py`; `count` tells what is left: activations and requests."""

    def __init__(self, address: SiloAddress, steps: Sequence[Step], count: Callable[[], tuple[int, int]]) -> None:
        self._address = address
        self._steps = steps
        self._count = count
        self._began: float | None = None
        self.phase = Phase.SERVING

    def state(self) -> DrainState:
        """How far it is."""
        now = asyncio.get_running_loop().time()
        return DrainState(self._address, self.phase, *self._count(), 0.0 if self._began is None else now - self._began)

    async def run(self) -> None:
        """All steps in order. Returns when the silo has nothing left that anybody could miss."""
        self._began = asyncio.get_running_loop().time()
        for step in self._steps:
            if step.wanted():
                self.phase = step.phase
                await self._take(step)
        self.phase = Phase.STOPPED

    async def _take(self, step: Step) -> None:
        try:
            async with asyncio.timeout(step.seconds):
                await step.run()
        except TimeoutError:
            state = self.state()
            log.warning(
                "silo %s: %s did not end within %g s; %d activations and %d requests are left, the stop goes on",
                self._address, step.phase, step.seconds, state.activations, state.requests,
                extra={"event": "drain_timeout", "phase": str(step.phase), "activations": state.activations,
                       "requests": state.requests},
            )  # fmt: skip

    def serve(self, targets: SystemTargets, begin: Callable[[], None]) -> None:
        """Offer the service. `begin` starts the stop of the silo, once."""

        async def answer(question: bytes) -> bytes:
            if msgspec.msgpack.decode(question, type=DrainQuestion).begin:
                begin()
            return msgspec.msgpack.encode(self.state())

        targets.serve(DRAIN, answer)
