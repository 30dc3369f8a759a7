"""The planned stop of one silo: a list of steps, each with a phase, a deadline and an action; see `Shutdown.steps`.

SIGTERM, `grange drain` and `Silo.stop` all run it. A step that exceeds its deadline is cancelled with a warning, and
the next one begins. The act `drain` starts a stop, and the system target `management.drain` reports its progress. ADR
0042: the reasons.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from grange.aio.tasks import Tasks
from grange.directory.cluster import ClusterDirectory
from grange.membership.agent import MembershipAgent
from grange.observability.catalogue import DrainTimeout, PartWouldNotEnd, SiloStopped, SiloStopping
from grange.observability.events import Events
from grange.proto.acts import Level
from grange.proto.ids import SiloAddress
from grange.proto.management import DRAIN, DrainState, Phase
from grange.runtime.activations.catalog import Catalog
from grange.runtime.activations.draining import CANCEL_TIMEOUT
from grange.runtime.calls.caller import Caller
from grange.runtime.calls.inbound import Inbound
from grange.runtime.observers.routes import ClientRoutes
from grange.runtime.system_target import SystemTargets
from grange.silo.gated_listener import GatedListener
from grange.silo.gateway import Gateway
from grange.silo.hosted_services import HostedServices
from grange.silo.own_code import OwnCode
from grange.silo.reminders import SiloReminders
from grange.silo.service_calls import ServiceCalls
from grange.silo.view_reads import ViewReads

LEAVE_TIMEOUT = 10.0
"""Seconds for writing LEAVING into the membership table. Membership itself stops trying earlier (`stop_timeout`) and
logs that."""

LAST_DEACTIVATIONS = 10.0
"""Seconds for the deactivations that follow cancelled turns, or that had no time before."""

HANDOVER_TIMEOUT = 5.0
"""Seconds for the new owners to fetch this silo's slice of the directory. The hand-over begins when they read LEAVING;
the new owners recover entries that they did not fetch by asking every silo."""

GOODBYE_TIMEOUT = 2.0
"""Seconds for peers to close their connections after GOODBYE. The silo then closes the connections of peers that do not
know that message."""

PART_TIMEOUT = 10.0
"""Seconds for closing each part after the drain; membership, the slowest part, takes up to 5 s."""


class ShutdownDeps(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The parts of a silo that its stop needs. `drain_timeout` is the time for running calls, in seconds."""

    address: SiloAddress
    agent: MembershipAgent
    directory: ClusterDirectory
    catalog: Catalog
    gateway: Gateway
    clients: ClientRoutes
    caller: Caller
    own_code: OwnCode
    reminders: SiloReminders
    services: HostedServices
    service_calls: ServiceCalls
    listeners: tuple[GatedListener, ...]
    inbound: tuple[Inbound, ...]
    view_reads: ViewReads
    tasks: Tasks
    events: Events
    drain_timeout: float


class Step(msgspec.Struct, frozen=True):
    """One step: run `action` for at most `seconds`, unless `needed` answers False when the step is due."""

    phase: Phase
    seconds: float
    action: Callable[[], Awaitable[None]]
    needed: Callable[[], bool] = lambda: True


class Shutdown:
    """The stop of one silo. Call `stop` or `kill`, once; `silo/lifecycle.py` ensures that."""

    def __init__(self, deps: ShutdownDeps) -> None:
        self._deps = deps
        self._began: float | None = None
        self._calls_completed = False
        self.phase = Phase.SERVING

    def steps(self) -> Sequence[Step]:
        """The drain, in order.

        The background services and the deliveries of reminders end first, because they make calls. Then the other silos
        stop placing grains here. Then the activations of this silo deactivate, and the silo services stop. Then the new
        owners fetch this silo's slice of the directory. At last this silo sends GOODBYE.
        """
        return (
            Step(Phase.LEAVING, 2 * PART_TIMEOUT, self._stop_background),
            Step(Phase.LEAVING, PART_TIMEOUT, self._stop_reminders),
            Step(Phase.LEAVING, LEAVE_TIMEOUT, self._deps.agent.leave),
            Step(Phase.MOVING, self._deps.drain_timeout, self._complete_calls),
            Step(
                Phase.CANCELLING,
                CANCEL_TIMEOUT + LAST_DEACTIVATIONS,
                self._cancel_calls,
                needed=lambda: not self._calls_completed,
            ),
            Step(Phase.MOVING, PART_TIMEOUT, self._deps.services.stop),
            Step(Phase.HANDING_OVER, HANDOVER_TIMEOUT, self._hand_over),
            Step(Phase.DISMISSING, GOODBYE_TIMEOUT, self._say_goodbye),
        )

    def state(self) -> DrainState:
        """The progress now."""
        deps, now = self._deps, asyncio.get_running_loop().time()
        return DrainState(
            deps.address,
            self.phase,
            sum(deps.catalog.counts().values()),
            sum(side.in_progress for side in deps.inbound),
            0.0 if self._began is None else now - self._began,
        )

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target `management.drain`, which tells the progress. The act `drain` starts the stop."""

        async def answer(_: bytes) -> bytes:
            return msgspec.msgpack.encode(self.state())

        targets.serve(DRAIN, answer, Level.VIEWER)

    async def stop(self) -> None:
        """Drain, then close the parts of the silo in reverse order of their start."""
        deps = self._deps
        try:
            deps.events.publish(SiloStopping(deps.drain_timeout))
            await self._drain()
        finally:
            await self._close_parts(deps.agent.stop)

    async def kill(self) -> None:
        """Cancel every turn and close the parts at once. No message is sent and nothing is written, as in a crash."""
        try:
            await self._deps.catalog.cancel_turns(kill=True)
        finally:
            await self._close_parts(self._deps.agent.kill)

    async def _drain(self) -> None:
        self._began = asyncio.get_running_loop().time()
        for step in self.steps():
            if step.needed():
                self.phase = step.phase
                await self._run(step)
        self.phase = Phase.STOPPED

    async def _run(self, step: Step) -> None:
        try:
            async with asyncio.timeout(step.seconds):
                await step.action()
        except TimeoutError:
            state = self.state()
            self._deps.events.publish(DrainTimeout(str(step.phase), step.seconds, state.activations, state.requests))

    async def _stop_background(self) -> None:
        await self._deps.own_code.stop(PART_TIMEOUT)

    async def _stop_reminders(self) -> None:
        await self._deps.reminders.stop()

    async def _complete_calls(self) -> None:
        """Wait for the turns of this silo, then for relayed requests and one-way calls that run elsewhere."""
        await self._drain_catalog()
        await self._deps.gateway.drain()
        await self._deps.caller.drain()
        self._calls_completed = True

    async def _cancel_calls(self) -> None:
        await self._deps.catalog.cancel_turns()
        await self._deps.gateway.close()
        await self._deps.caller.close()
        await self._drain_catalog()

    async def _drain_catalog(self) -> None:
        await self._deps.catalog.drain(self._deps.directory.locator.known)

    async def _hand_over(self) -> None:
        await self._deps.directory.handed_over(HANDOVER_TIMEOUT)

    async def _say_goodbye(self) -> None:
        """Send GOODBYE before the ports close: requests on their way here are then refused, and not lost."""
        self._deps.view_reads.end()  # a client keeps its connection until it has all answers
        self._deps.clients.drain()
        for listener in self._deps.listeners:
            listener.drain()
        await asyncio.gather(*(side.drain() for side in self._deps.inbound))

    async def _close_parts(self, close_membership: Callable[[], Awaitable[None]]) -> None:
        """Close each part within its deadline: a part that hangs must not block the others or the process."""
        deps = self._deps
        await self._close("background services", deps.own_code.stop)
        await self._close("reminders", deps.reminders.kill)
        await self._close("silo services", deps.services.kill)
        await self._close("calls of silo services", deps.service_calls.close)
        await self._close("the gateway", deps.gateway.close)
        await self._close("calls under way", deps.caller.close)
        await self._close("observers", deps.clients.own.close)
        await self._close("activations", deps.catalog.cancel_turns)
        await self._close("membership", close_membership)
        await deps.tasks.close(CANCEL_TIMEOUT)
        await deps.catalog.kill()  # activations whose code ignored its cancellation
        await self._close("services of grains", deps.catalog.free_killed)
        await self._close("services of silo services", deps.services.free)
        for listener in deps.listeners:
            await self._close("a port", listener.close)
        deps.events.publish(SiloStopped())

    async def _close(self, name: str, close: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(PART_TIMEOUT):
                await close()
        except TimeoutError:
            self._deps.events.publish(PartWouldNotEnd(name, PART_TIMEOUT))
