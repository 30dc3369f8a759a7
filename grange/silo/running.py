"""A running silo: all its parts, and what happens to them at a change of the cluster and at the stop."""

from __future__ import annotations

import msgspec

from grange.membership.model.member import SiloStatus, View
from grange.observability.log_ring import LogRing
from grange.runtime.deadlocks.detector import DeadlockDetector
from grange.silo.control import Control
from grange.silo.inspection import Inspection
from grange.silo.lifecycle import Lifecycle
from grange.silo.load_gossip import LoadGossip
from grange.silo.loop_watch import LoopWatch
from grange.silo.own_code import OwnCode
from grange.silo.shutdown import Shutdown
from grange.silo.stages import Calls, Cluster, Hosting, Links, Ports, Stores


class RunningSilo(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """All parts of one silo. `Silo`, tests and tools of this process reach a part through its stage."""

    ports: Ports
    stores: Stores
    links: Links
    cluster: Cluster
    calls: Calls
    hosting: Hosting
    inspection: Inspection
    real_time: bool
    deadlocks: DeadlockDetector
    shutdown: Shutdown
    control: Control
    lifecycle: Lifecycle
    gossip: LoadGossip
    loop_watch: LoopWatch
    logs: LogRing | None
    own_code: OwnCode

    def ask_to_stop(self) -> None:
        """Start a stop without waiting for it: see `Lifecycle.ask_to_stop`."""
        self.lifecycle.ask_to_stop(self.ports.address)

    async def stop_or_kill(self) -> None:
        """Kill if `Lifecycle.kill` was called, else stop. Called once, before the resources of the stages close."""
        try:
            await (self.shutdown.kill() if self.lifecycle.killed else self.shutdown.stop())
        finally:
            self.calls.caller.end()

    def learn_roads(self, view: View) -> None:
        """Use the faster road, and TLS, to the silos whose rows name a port of it."""
        road, tls = self.ports.transport.road, self.ports.transport.tls
        living = [member for member in view.members if member.status is not SiloStatus.DEAD]
        if tls is not None:
            tls.learn({member.address.endpoint: member.tls for member in living if member.tls})
        if road is not None:
            road.learn({member.address.endpoint: member.road for member in living if member.road})

    def drop_connections(self, view: View) -> None:
        """End the connections to dead silos: calls in flight to them fail now, not at their time-outs."""
        dead = [member.address for member in view.with_status(SiloStatus.DEAD)]
        self.ports.probe_port.drop(dead)
        for silo in dead:
            self.links.peers.kill(silo)
            self.links.sender.drop_link(silo)
