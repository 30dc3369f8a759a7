"""The parts of a silo: one frozen value per stage of `startup.py`, which makes them."""

from __future__ import annotations

import msgspec

from grange.aio.tasks import Tasks
from grange.directory.cluster import ClusterDirectory
from grange.grains.finding import GrainFinder
from grange.grains.ref import GrainFactory, ReferenceExtension
from grange.grains.registry import Registry
from grange.membership.agent import MembershipAgent
from grange.membership.detection.liveness import Liveness
from grange.membership.model.provider import MembershipTable
from grange.observability.events import Events
from grange.observability.kept_traces import KeptTraces
from grange.observability.spans import Spans
from grange.placement.versions import VersionPolicy
from grange.proto.faults import Faults
from grange.proto.ids import SiloAddress
from grange.proto.values import ValueCodec
from grange.runtime.activations.catalog import Catalog
from grange.runtime.activations.collector import Collector
from grange.runtime.calls.admission import Admission
from grange.runtime.calls.caller import Caller
from grange.runtime.calls.inbound import Inbound
from grange.runtime.calls.outgoing import CallerDeps
from grange.runtime.calls.sender import Sender
from grange.runtime.gate import Gate
from grange.runtime.observers.routes import ClientRoutes
from grange.runtime.requests.deadlines import Deadlines
from grange.runtime.requests.plan import Plans
from grange.runtime.system_target import SystemTargets
from grange.silo.admin import AdminPort
from grange.silo.auditing import SiloAudit
from grange.silo.gated_listener import GatedListener
from grange.silo.gateway import Gateway
from grange.silo.hosted_services import HostedServices
from grange.silo.identities import Identities
from grange.silo.management import Management
from grange.silo.migration import Migration
from grange.silo.probe_port import ProbePort
from grange.silo.queries import GrainQueries
from grange.silo.rebalancer import Rebalancer
from grange.silo.reminders import SiloReminders
from grange.silo.renewals import Renewals
from grange.silo.service_calls import ServiceCalls
from grange.silo.tls import SiloTls
from grange.silo.view_reads import ViewReads
from grange.storage.guards.stores import StorageGuards
from grange.transport.peers import Peers
from grange.transport.provider import Transport


class OpenPorts(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Stage 1: the open ports, which admit no connection yet. `host` and `port` are the silo's endpoint."""

    admin: AdminPort
    transport: Transport
    probe_port: ProbePort
    silo_listener: GatedListener
    client_listener: GatedListener
    tls: SiloTls | None
    gateway_port: int
    host: str
    port: int


class Ports(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The open ports with the names of this silo, and its events. Stage 2 completes the address."""

    admin: AdminPort
    transport: Transport
    probe_port: ProbePort
    silo_listener: GatedListener
    client_listener: GatedListener
    tls: SiloTls | None
    gateway_port: int
    address: SiloAddress
    name: str
    cluster: str
    events: Events


class Stores(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Stage 2: the membership table, the storages behind their guards, the audit, and the services of the grains."""

    table: MembershipTable
    guards: StorageGuards
    audit: SiloAudit
    services: Registry


class Tracing(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Stage 3: the traces of this silo; None without telemetry."""

    spans: Spans | None
    kept: KeptTraces | None


class Links(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Stage 4: the connections to known silos, and requests by them, in traces."""

    traces: Tracing
    deadlines: Deadlines
    faults: Faults
    sender: Sender
    peers: Peers


class Cluster(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Stage 5: membership and the directory. Every turn passes `gate`; a fenced silo closes it.

    `versions` has the rules by which a version of an interface serves a caller.
    """

    gate: Gate
    liveness: Liveness
    agent: MembershipAgent
    directory: ClusterDirectory
    versions: VersionPolicy


Before = tuple[Ports, Stores, Links, Cluster]
"""The stages before the calls."""


class Calls(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Stage 6: calls to a grain or a silo service, on any silo; `grains` and `services` make the references.

    `hosted_services` are the silo services of this silo.
    """

    references: ReferenceExtension
    codec: ValueCodec
    plans: Plans
    deps: CallerDeps
    caller: Caller
    grains: GrainFactory
    services: ServiceCalls
    hosted_services: HostedServices
    spans: Spans | None


class Hosting(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Stage 7: the grains of this silo, and the requests that arrive from other silos and from clients.

    `clients` are those that this silo can call, with the observers of code in its own process. `finder` finds stored
    grains for this silo and its grains, `queries` answers such questions.
    """

    tasks: Tasks
    identities: Identities
    collector: Collector
    catalog: Catalog
    gateway: Gateway
    clients: ClientRoutes
    silo_targets: SystemTargets
    client_targets: SystemTargets
    silo_inbound: Inbound
    client_inbound: Inbound
    admission: Admission
    migration: Migration
    rebalancer: Rebalancer
    management: Management
    view_reads: ViewReads
    finder: GrainFinder
    queries: GrainQueries
    reminders: SiloReminders
    renewals: Renewals


class Stages(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """All stages of one silo, for the parts that are made last."""

    ports: Ports
    stores: Stores
    links: Links
    cluster: Cluster
    calls: Calls
    hosting: Hosting
