"""All figures of one silo: collects those of its parts in one frozen snapshot."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.metadata import version
from itertools import takewhile
from typing import Any

import msgspec

from grange.membership.model.member import SiloStatus
from grange.observability.counters import TrafficFigures
from grange.observability.histogram import Histogram
from grange.observability.process import process_snapshot
from grange.observability.security_snapshot import CertificateSnapshot, SecretSnapshot, TlsSnapshot
from grange.observability.snapshot import (
    LONG_TURN,
    BlockingSnapshot,
    DirectorySnapshot,
    MembershipSnapshot,
    ObserverSnapshot,
    ProcessSnapshot,
    Snapshot,
    TrafficSnapshot,
    TypeSnapshot,
)
from grange.security.secrets import Secrets
from grange.silo.load import LoadMeter
from grange.silo.load_gossip import OwnLoad
from grange.silo.stages import Stages
from grange.transport.tls_material import certificate_snapshot


class Figures:
    """The figures of one silo. Make it in the event loop of the silo, and call it there. `lag`: that of the loop."""

    def __init__(
        self,
        stages: Stages,
        labels: tuple[str, ...],
        now: Callable[[], datetime],
        process: Callable[[], ProcessSnapshot] = process_snapshot,
        secrets: Secrets | None = None,
    ) -> None:
        """`now` is the wall clock."""
        self._stages = stages
        self._labels = labels
        self._now = now
        self._process = process
        self._secrets = secrets
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._release = version("grange")
        self._load = LoadMeter(stages.hosting.admission.most_requests)
        self.lag = Histogram()

    def own_load(self, real_time: bool) -> OwnLoad:
        """The load for placement. In virtual time the process counts for nothing: the same seed gives the same load."""
        hosting = self._stages.hosting
        load = self._load.measure(self._loop.time(), self._process(), self.lag.frozen(), self._in_flight())
        value = load.value if real_time else load.parts["requests"]
        return OwnLoad(value, sum(hosting.catalog.counts().values()))

    def snapshot(self) -> Snapshot:
        """All figures now. It looks at no activation: its cost grows with types, methods and connections only."""
        ports, hosting = self._stages.ports, self._stages.hosting
        calls, view = self._stages.calls.deps.figures, self._stages.cluster.agent.view
        own = view.get(ports.address)
        uptime, in_flight = self._loop.time() - self._started, self._in_flight()
        process, lag = self._process(), self.lag.frozen()
        threads = hosting.catalog.deps.threads
        return Snapshot(
            address=ports.address, name=ports.name, cluster=ports.cluster, release=self._release,
            time=self._now().timestamp(),
            uptime=uptime, span=uptime,
            status="" if own is None else own.status.name.lower(),
            ready=own is not None and own.status is SiloStatus.ACTIVE,
            labels=self._labels,
            types=tuple(self._types()),
            outgoing=tuple(plan.sent.snapshot() for plan in self._stages.calls.plans.values() if plan.sent.used),
            refused=dict(calls.refused),
            timeouts=calls.timeouts,
            in_flight=in_flight,
            running=len(hosting.catalog.deps.turns), stuck=self._stuck(),
            waiting=sum(each.figures.waiting for each in hosting.catalog.hosted.values()),
            traffic=self._traffic(),
            clients=len(hosting.client_inbound.connected),
            shed=hosting.silo_inbound.traffic.shed + hosting.client_inbound.traffic.shed,
            lag=lag,
            directory=self._directory(),
            membership=self._membership(),
            observers=self._observers(),
            reminders=hosting.reminders.snapshot(),
            stores=tuple(each.snapshot() for each in self._stages.stores.guards.figures),
            process=process,
            shedding=hosting.admission.shedder.share, blocking=BlockingSnapshot(threads.busy, threads.waiting),
            load=self._load.measure(self._loop.time(), process, lag, in_flight),
            balance=hosting.rebalancer.snapshot(), **self._authorization(),
            certificate=self._certificate(), tls=self._tls(), audit=self._stages.stores.audit.snapshot(),
            secrets=SecretSnapshot() if self._secrets is None else secret_snapshot(self._secrets),
            ports=(ports.silo_listener.figures(), ports.client_listener.figures()),
        )  # fmt: skip

    def _authorization(self) -> dict[str, Any]:
        rules = self._stages.hosting.catalog.authorization
        if rules is None:
            return {}
        return {"would_refuse": dict(rules.figures.would_be_refused), "authorization_failed": rules.figures.failed}

    def _in_flight(self) -> int:
        hosting = self._stages.hosting
        waiting_here = self._stages.calls.deps.figures.here
        return hosting.silo_inbound.in_progress + hosting.client_inbound.in_progress + waiting_here

    def _types(self) -> Iterator[TypeSnapshot]:
        changes: Counter[str] = Counter()
        conflicts: Counter[str] = Counter()
        for store in self._stages.stores.guards.figures:
            for name, (written, lost) in store.changes.items():
                changes[name] += written
                conflicts[name] += lost
        for name, each in self._stages.hosting.catalog.hosted.items():
            yield each.figures.snapshot(each.live, changes[name], conflicts[name])

    def _stuck(self) -> int:
        """The turns that run for longer than `LONG_TURN`: the first of all, which are in order of their starts.

        Those of a fenced silo that wait at its gate have not entered their grains.
        """
        deps = self._stages.hosting.catalog.deps
        limit = deps.gate.clock() - LONG_TURN
        return sum(call.entered for call in takewhile(lambda call: call.started_at <= limit, deps.turns))

    def _traffic(self) -> tuple[TrafficSnapshot, ...]:
        hosting, peers = self._stages.hosting, self._stages.links.peers
        silos, clients = hosting.silo_inbound, hosting.client_inbound
        both = TrafficFigures()
        for each in (silos.traffic, peers.traffic):
            both.add(each)
        return (
            both.snapshot("silo", len(silos.connected) + peers.connected),
            clients.traffic.snapshot("client", len(clients.connected)),
        )

    def _directory(self) -> DirectorySnapshot:
        directory = self._stages.cluster.directory
        repairs = directory.repairs
        return msgspec.structs.replace(
            directory.figures.snapshot(),
            duplicates=repairs.duplicates,
            repaired=repairs.repaired,
            stale=repairs.stale,
            entries=len(directory.partition),
            cached=directory.locator.cached,
        )

    def _observers(self) -> ObserverSnapshot:
        clients = self._stages.hosting.clients
        figures = clients.figures
        return ObserverSnapshot(
            figures.calls, figures.failed, figures.overloaded, clients.clients, clients.in_flight, clients.observers
        )

    def _certificate(self) -> CertificateSnapshot:
        tls = self._stages.ports.tls
        return CertificateSnapshot() if tls is None else certificate_snapshot(tls.material)

    def _tls(self) -> TlsSnapshot:
        ports, hosting = self._stages.ports, self._stages.hosting
        replaced = self._stages.links.peers.renewed, dict(hosting.renewals.asked), dict(hosting.renewals.cut)
        if ports.tls is None:  # connections with a token are replaced, too
            return TlsSnapshot({}, {}, {}, *replaced)
        return TlsSnapshot(
            {"silo": hosting.silo_inbound.plain, "client": hosting.client_inbound.plain},
            {"silo": ports.silo_listener.plain, "client": ports.client_listener.plain},
            dict(ports.tls.refused),
            *replaced,
        )

    def _membership(self) -> MembershipSnapshot:
        agent = self._stages.cluster.agent
        figures = agent.figures
        return MembershipSnapshot(
            version=agent.view.version,
            silos=dict(Counter(member.status.name.lower() for member in agent.view.members)),
            changes=figures.changes,
            suspicions=figures.suspicions,
            false_suspicions=figures.false_suspicions,
            withheld=agent.withheld,
            deaths=figures.deaths,
            score=agent.score,
            fenced=agent.fenced,
            fences=figures.fences,
            table=agent.table,
            rtt=figures.rtt.frozen(),
            declared=dict(figures.declared),
        )


def secret_snapshot(secrets: Secrets) -> SecretSnapshot:
    """The figures of the secrets now."""
    figures = secrets.figures
    return SecretSnapshot(dict(figures.read), dict(figures.failed), secrets.unread, figures.refused)
