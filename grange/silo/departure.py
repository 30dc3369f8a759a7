"""What a silo does before it stops, so that nobody misses it. `silo/drain.py` takes these steps one after the other.

The order matters: first the others place nothing here any more, then what is here ends, then what this silo does for
others, and only when nothing is left it says goodbye and closes its doors.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import msgspec

from grange.aio.tasks import Tasks
from grange.directory.cluster import ClusterDirectory
from grange.membership.agent import MembershipAgent
from grange.proto.ids import SiloAddress
from grange.runtime.caller import Caller
from grange.runtime.catalog import Catalog
from grange.runtime.draining import CANCELLED_TURN
from grange.runtime.inbound import Inbound
from grange.silo.drain import Drain, Phase, Step
from grange.silo.gated_listener import GatedListener
from grange.silo.gateway import Gateway

log = logging.getLogger("grange.silo")

LEAVE_TIMEOUT = 10.0
"""Seconds for writing that this silo leaves. Membership itself gives up earlier (`stop_timeout`) and says so."""

LAST_ENDS = 10.0
"""Seconds in which activations end whose turns were cancelled, or that had no time to end before."""

HAND_OVER = 5.0
"""Seconds in which the new owners of this silo's part of the directory get what it holds. It began when the others
learnt that this silo leaves; what is not fetched by then is recovered by asking every silo."""

DISMISS_TIMEOUT = 2.0
"""Seconds that others get to end their connections after a goodbye; who does not understand it is cut off then."""

PART_TIMEOUT = 10.0
"""Seconds in which each part of the silo ends after the drain; the longest, membership, gives itself five."""


class ShutdownDeps(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The parts of a silo that take part in its departure. `drain_timeout` is what running calls get, in seconds."""

    address: SiloAddress
    agent: MembershipAgent
    directory: ClusterDirectory
    catalog: Catalog
    gateway: Gateway
    caller: Caller
    listeners: tuple[GatedListener, ...]
    sides: tuple[Inbound, ...]
    tasks: Tasks
    drain_timeout: float


class Departure:
    """The steps of one silo's drain."""

    def __init__(self, parts: ShutdownDeps) -> None:
        self._parts = parts
        self._finished = False
        steps = (
            Step(Phase.LEAVING, LEAVE_TIMEOUT, self._parts.agent.leave),
            Step(Phase.MOVING, self._parts.drain_timeout, self._finish),
            Step(Phase.CANCELLING, CANCELLED_TURN + LAST_ENDS, self._cancel, lambda: not self._finished),
            Step(Phase.HANDING_OVER, HAND_OVER, self._hand_over),
            Step(Phase.DISMISSING, DISMISS_TIMEOUT, self._dismiss),
        )
        self.drain = Drain(parts.address, steps, self._left)

    async def end(self, killed: bool) -> None:
        """The end of the silo: the drain, unless it is `killed`, then of all that it started, in reverse."""
        parts = self._parts
        try:
            if killed:
                await parts.catalog.abort(at_once=True)
            else:
                log.info(
                    "silo %s stops: calls that run have %g s to end",
                    parts.address, parts.drain_timeout, extra={"event": "silo_stopping"},
                )  # fmt: skip
                await self.drain.run()
        finally:
            await self._tear_down(killed)
            log.info("silo %s has stopped", parts.address, extra={"event": "silo_stopped"})

    async def _tear_down(self, killed: bool) -> None:
        """Each part gets a deadline: one that does not end must not keep the others, or the process, from ending."""
        parts = self._parts
        await self._part("the gateway", parts.gateway.close())
        await self._part("calls under way", parts.caller.close())
        await self._part("activations", parts.catalog.abort())
        await self._part("membership", parts.agent.kill() if killed else parts.agent.stop())
        await parts.tasks.close(CANCELLED_TURN)
        parts.catalog.abandon()  # what even so has not ended
        for listener in parts.listeners:
            await self._part("a port", listener.close())

    async def _part(self, name: str, end: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(PART_TIMEOUT):
                await end
        except TimeoutError:
            log.error(
                "silo %s: %s did not end within %g s; the stop goes on without it",
                self._parts.address, name, PART_TIMEOUT, extra={"event": "part_would_not_end"},
            )  # fmt: skip

    async def _finish(self) -> None:
        """What runs here ends, then what the gateway and one-way calls have under way elsewhere."""
        await self._empty()
        await self._parts.gateway.drain()
        await self._parts.caller.drain()
        self._finished = True

    async def _cancel(self) -> None:
        await self._parts.catalog.abort()
        await self._parts.gateway.close()
        await self._parts.caller.close()
        await self._empty()

    async def _empty(self) -> None:
        await self._parts.catalog.drain(self._parts.directory.locator.known)

    async def _hand_over(self) -> None:
        await self._parts.directory.handed_over(HAND_OVER)

    async def _dismiss(self) -> None:
        """See everybody off before the doors close, so that what is on its way here is refused, and not lost."""
        for listener in self._parts.listeners:
            listener.shut()
        await asyncio.gather(*(side.dismiss() for side in self._parts.sides))

    def _left(self) -> tuple[int, int]:
        activations = sum(1 for _ in self._parts.catalog.activations())
        return activations, sum(side.in_progress for side in self._parts.sides)
