"""Makes the parts of a silo that neither open nor await anything: stages 4 to 7 of its start (`startup.py`).

Each function makes the value of `stages.py` that it returns. The first three stages are in `opening.py`.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from functools import partial

import msgspec

from grange.aio.blocking_threads import BlockingThreads
from grange.aio.eager import EagerStart
from grange.aio.loop_binding import LoopBinding
from grange.aio.tasks import Tasks
from grange.directory.cluster import ClusterDirectory
from grange.directory.slice.deps import DirectoryDeps
from grange.grains.definition import spec_of
from grange.grains.enumeration import CallsGrains
from grange.grains.finding import GrainFinder
from grange.grains.ref import GrainFactory, ReferenceExtension
from grange.grains.registry import RegisteredServices
from grange.management import TypeHosts
from grange.membership.agent import MembershipAgent
from grange.membership.detection.deps import MembershipDeps
from grange.membership.detection.liveness import Liveness
from grange.membership.model.member import Member, SiloStatus
from grange.observability.certificate_events import ConnectionKept
from grange.placement.loads import Loads
from grange.proto.faults import Clash, Faults
from grange.proto.handshake import Hello, Role
from grange.proto.identity import SILO, Identity, encode_identity
from grange.proto.ids import SiloAddress
from grange.proto.values import ValueCodec
from grange.reminders.owners import SERVICE
from grange.runtime.activations.catalog import Catalog
from grange.runtime.activations.collector import Collector
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.activations.hosted import HostedType, SiloRules
from grange.runtime.calls.admission import Admission
from grange.runtime.calls.caller import Caller
from grange.runtime.calls.filtered import FilteredCalls
from grange.runtime.calls.inbound import Inbound
from grange.runtime.calls.outgoing import CallerDeps
from grange.runtime.calls.sender import Sender
from grange.runtime.calls.traced import TracedCalls
from grange.runtime.gate import Gate
from grange.runtime.options import RuntimeOptions
from grange.runtime.requests.deadlines import Deadlines
from grange.runtime.requests.plan import Plans
from grange.runtime.system_target import SystemTargets
from grange.security.renewal import RenewalTimes
from grange.silo.config import SiloConfig
from grange.silo.definition import SiloDefinition
from grange.silo.environment import SiloEnvironment
from grange.silo.figures import Figures
from grange.silo.gateway import Gateway
from grange.silo.hosted_services import Factories, HostedDeps, HostedServices
from grange.silo.identities import Identities
from grange.silo.load_gossip import LoadGossip
from grange.silo.management import Management, asking_from
from grange.silo.migration import Migration
from grange.silo.observers import prepare_clients
from grange.silo.own_code import OwnCode
from grange.silo.preparing_reminders import prepare_reminders
from grange.silo.queries import GrainQueries
from grange.silo.rebalancer import Rebalancer
from grange.silo.reminders import SiloReminders, delivers
from grange.silo.renewals import RenewalDeps, Renewals
from grange.silo.ring import Ring
from grange.silo.service_calls import ServiceCalls, ServiceCallsDeps
from grange.silo.service_rings import ServiceRings
from grange.silo.shutdown import Shutdown, ShutdownDeps
from grange.silo.stages import Before, Calls, Cluster, Hosting, Links, Ports, Stores, Tracing
from grange.silo.view_reads import ViewReads
from grange.storage.states.facet import PersistentStates
from grange.storage.states.state import PersistentState
from grange.transport.peers import Peers


def prepare_links(
    parts: AsyncExitStack, definition: SiloDefinition, environment: SiloEnvironment, ports: Ports, traces: Tracing
) -> Links:
    """Stage 4: requests to known silos. Nothing is connected or sent yet."""
    deadlines = Deadlines()
    parts.callback(deadlines.close)
    faults = Faults(definition.errors)
    sender = Sender(deadlines, faults)
    hello = Hello(ports.cluster, Role.SILO, ports.name, ports.address)
    peers = Peers(
        ports.transport,
        lambda silo: msgspec.structs.replace(hello, target=silo),
        sender.receiver_for,
        definition.config.transport_options(),
        environment.random,
    )
    peers.on_kept = lambda silo, problem: ports.events.publish(ConnectionKept(str(silo), problem))
    parts.push_async_callback(peers.close)
    return Links(traces=traces, deadlines=deadlines, faults=faults, sender=sender, peers=peers)


def prepare_cluster(
    definition: SiloDefinition, environment: SiloEnvironment, ports: Ports, stores: Stores, links: Links, ring: Ring
) -> Cluster:
    """Stage 5: membership and the directory. The silo is not in the membership table yet."""
    gate, options = Gate(), definition.config.membership_settings()
    liveness = Liveness(gate.clock, options.probe_interval)
    deps = MembershipDeps(
        ask=links.sender.ask,
        liveness=liveness,
        gate=gate,
        probe_line=ports.probe_port.ask,
        rng=environment.random,
        now=environment.utc_now,
        uptime=environment.uptime,
        heard_from=ring.heard_from,
        refuses=ports.transport.refuses,
        processes=environment.processes(),
        events=ports.events,
    )
    agent = MembershipAgent(stores.table, table_row(definition, environment, ports), deps, options)
    directory_deps = DirectoryDeps(
        me=ports.address,
        ask=links.sender.ask,
        refresh=agent.refresh,
        registered=ring.registered,
        is_registered=ring.is_registered,
        has_activation=ring.has_activation,
        end_unregistered=ring.end_unregistered,
        end_if_stateful=ring.end_if_stateful,
        client_state=ring.client_state,
        strategies=definition.strategies,
        rng=environment.random,
        events=ports.events,
        loads=_loads(definition.config, ports),
        options=definition.config.directory_options(),
        versions=definition.config.version_options().policy(),
    )
    directory, versions = ClusterDirectory(directory_deps), directory_deps.versions
    links.sender.on_lost = partial(_on_lost, agent, directory)
    return Cluster(gate=gate, liveness=liveness, agent=agent, directory=directory, versions=versions)


def _on_lost(agent: MembershipAgent, directory: ClusterDirectory, silo: SiloAddress) -> None:
    """A connection to this silo broke: look whether it has crashed, and place no new grain there meanwhile."""
    directory.on_lost(silo)
    agent.on_contact_lost(silo)


def _loads(config: SiloConfig, ports: Ports) -> Loads:
    return Loads(ports.address, asyncio.get_running_loop().time, config.placement_settings().load_lifetime)


def table_row(definition: SiloDefinition, environment: SiloEnvironment, ports: Ports) -> Member:
    """The row that this silo writes when it joins."""
    now = environment.utc_now()
    return Member(
        ports.address,
        SiloStatus.JOINING,
        started=now,
        alive=now,
        name=ports.name,
        gateway=ports.gateway_port,
        probe=ports.probe_port.port,
        road=ports.silo_listener.road_port,
        gateway_road=ports.client_listener.road_port,
        tls=ports.silo_listener.tls_port,
        gateway_tls=ports.client_listener.tls_port,
        probe_tls=ports.probe_port.tls_port,
        run=f"{environment.random.getrandbits(64):016x}",
        labels=definition.config.all_labels,
        grains=definition.placements(),
        interfaces=definition.interfaces(),
        versions=definition.versions(),
        services=_services(definition),
        process=environment.processes().own,
    )


def _services(definition: SiloDefinition) -> tuple[str, ...]:
    names = [spec_of(cls).name for cls in definition.silo_services]
    return (*names, SERVICE) if delivers(definition) else tuple(names)


def prepare_calls(
    definition: SiloDefinition, environment: SiloEnvironment, before: Before,
    binding: LoopBinding,
) -> Calls:  # fmt: skip
    """Stage 6: calls to a grain or a silo service, on any silo. `before`: the stages that it needs."""
    ports, stores, links, cluster = before
    references = ReferenceExtension()
    codec = ValueCodec([references])
    options = definition.config.runtime_options()
    plans = Plans(codec, options.payload_limit)
    own = encode_identity(Identity(SILO)) if definition.identity_rules().carried else b""
    deps = CallerDeps(links.sender, links.faults, links.deadlines, options, binding, ports.address, own=own)
    caller = Caller(deps, cluster.directory.locator, plans, environment.random)
    learn = partial(links.faults.register, clash=Clash.KEEP)
    spans = links.traces.spans
    call: CallsGrains = caller.call if spans is None else TracedCalls(caller.call, spans)
    if definition.filters.outgoing:
        call = FilteredCalls(call, plans, definition.filters.outgoing)
    grains = GrainFactory(call, lambda interface: cluster.agent.view.implementations(interface), learn)
    rings = ServiceRings(lambda: cluster.agent.view)
    hosted = HostedServices(
        definition.silo_services,
        HostedDeps(
            me=ports.address, name=ports.name, registry=stores.services, plans=plans, faults=links.faults, rings=rings,
            gate=cluster.gate, events=ports.events, filters=definition.filters.incoming,
        ),
    )  # fmt: skip
    services = ServiceCalls(
        ServiceCallsDeps(
            me=ports.address, ask=links.sender.ask, agent=cluster.agent, faults=links.faults, plans=plans, rings=rings,
            rng=environment.random, binding=binding, timeout=options.response_timeout,
            principal=deps.principal, filters=definition.filters.outgoing,
        ),
        hosted,
    )  # fmt: skip
    hosted.bind(Factories(grains, services.get_service))
    return Calls(
        references=references, codec=codec, plans=plans, deps=deps, caller=caller, grains=grains, services=services,
        hosted_services=hosted, spans=spans,
    )  # fmt: skip


def prepare_hosting(definition: SiloDefinition, environment: SiloEnvironment, before: Before, calls: Calls) -> Hosting:
    """Stage 7: the grains of this silo, and the requests that arrive. Nothing arrives yet."""
    ports, stores, _, cluster = before
    options, faults, tasks = definition.config.runtime_options(), calls.deps.faults, Tasks()
    collector = Collector(options.collect_period)
    identities = Identities(environment.tokens(), ports.events, definition.identity_rules())
    silo_targets, client_targets = SystemTargets(identities.asker_of), SystemTargets(identities.asker_of)
    finder = _finder(ports, cluster, calls, silo_targets, environment.random)
    states = _states(definition, stores, calls)
    hosted = _hosted(definition, stores, cluster, calls, options, states)
    reminders = prepare_reminders(definition, environment, before, calls)
    deps = _activation_deps(environment, before, calls, tasks, reminders, finder)
    faults.register(error for each in hosted for error in each.options.errors)
    catalog = Catalog(deps, {each.name: each for each in hosted}, cluster.directory.locator, collector)
    deps.moves.carrier = migration = Migration(calls.deps.sender.ask, catalog, cluster.directory)
    gateway = Gateway(ports.address, calls.caller, calls.deps.sender, catalog)
    admission = Admission(options, catalog.has_small_answer, calls.deps.figures)
    inbound = (
        Inbound(catalog, silo_targets, faults, tasks, admission, calls.spans),
        Inbound(gateway, client_targets, faults, tasks, admission, calls.spans),
    )
    return Hosting(
        tasks=tasks, identities=identities, collector=collector, catalog=catalog, gateway=gateway,
        clients=prepare_clients(definition, environment, ports, cluster, calls),
        silo_targets=silo_targets,
        client_targets=client_targets,
        silo_inbound=inbound[0],
        client_inbound=inbound[1],
        admission=admission,
        migration=migration,
        rebalancer=_rebalancer(definition.config, environment, ports, cluster, catalog),
        management=Management(ports.address, ports.name, catalog, cluster.agent, cluster.directory, inbound),
        view_reads=ViewReads(cluster.agent, admission, environment.random),
        finder=finder,
        queries=GrainQueries(ports.address, catalog, states, stores.guards.storages, cluster.directory.directory),
        reminders=reminders,
        renewals=_renewals(definition.config, environment, ports, inbound),
    )  # fmt: skip


def _renewals(
    config: SiloConfig, environment: SiloEnvironment, ports: Ports, inbound: tuple[Inbound, Inbound]
) -> Renewals:
    material = None if ports.tls is None else ports.tls.material
    times = RenewalTimes.of(config.tls_options())
    return Renewals(RenewalDeps(inbound, material, times, ports.events, environment.random, environment.utc_now))


def _activation_deps(
    environment: SiloEnvironment, before: Before, calls: Calls, tasks: Tasks, reminders: SiloReminders,
    finder: GrainFinder,
) -> ActivationDeps:  # fmt: skip
    deps, options = calls.deps, calls.deps.options
    ports, _, _, cluster = before
    return ActivationDeps(
        ports.address, options, calls.grains, deps.faults, EagerStart(), tasks, environment.random, deps.binding,
        cluster.gate, deps.figures, epoch=environment.utc_now().timestamp() - asyncio.get_running_loop().time(),
        spans=calls.spans, events=ports.events, threads=BlockingThreads(options.blocking_threads),
        get_service=calls.services.get_service, reminders=reminders.make, jobs=reminders.jobs, finder=finder,
    )  # fmt: skip


def _hosted(
    definition: SiloDefinition, stores: Stores, cluster: Cluster, calls: Calls, options: RuntimeOptions,
    states: PersistentStates,
) -> list[HostedType]:  # fmt: skip
    facets = {PersistentState: states}
    services = RegisteredServices(stores.services)
    rules = SiloRules(options, cluster.versions, definition.filters.incoming, bool(calls.deps.own))
    return [HostedType(cls, calls.plans, facets, services, rules) for cls in definition.grains]


def _states(definition: SiloDefinition, stores: Stores, calls: Calls) -> PersistentStates:
    guards, claims = stores.guards, definition.config.storage_settings().claim
    return PersistentStates(guards.storages, calls.codec, guards.stamps, claims, guards.unreadable)


def _finder(ports: Ports, cluster: Cluster, calls: Calls, targets: SystemTargets, rng: random.Random) -> GrainFinder:
    ask = asking_from(ports.address, targets, calls.deps.sender.ask)
    return GrainFinder(calls.grains, TypeHosts(ask, lambda: cluster.agent.view, rng, ports.address))


def _rebalancer(
    config: SiloConfig, environment: SiloEnvironment, ports: Ports, cluster: Cluster, catalog: Catalog
) -> Rebalancer:
    return Rebalancer(cluster.directory, catalog, config.placement_settings(), ports.events, environment.random)


def prepare_gossip(
    config: SiloConfig, environment: SiloEnvironment, links: Links, cluster: Cluster, hosting: Hosting, figures: Figures
) -> LoadGossip:
    """The loads that silos tell each other, for placement and the rebalancer."""
    return LoadGossip(
        links.sender.ask, cluster.directory, hosting.rebalancer, config.placement_settings(),
        partial(figures.own_load, environment.real_time), random.Random(environment.random.getrandbits(64)),  # noqa: S311 no secret
    )  # fmt: skip


def prepare_shutdown(
    config: SiloConfig, ports: Ports, cluster: Cluster, calls: Calls, hosting: Hosting, own_code: OwnCode
) -> Shutdown:
    """The stop of this silo: clients first, then other silos."""
    return Shutdown(
        ShutdownDeps(
            address=ports.address,
            agent=cluster.agent,
            directory=cluster.directory,
            catalog=hosting.catalog,
            gateway=hosting.gateway,
            clients=hosting.clients,
            caller=calls.caller,
            own_code=own_code,
            reminders=hosting.reminders,
            services=calls.hosted_services,
            service_calls=calls.services,
            listeners=(ports.client_listener, ports.silo_listener),
            inbound=(hosting.client_inbound, hosting.silo_inbound),
            view_reads=hosting.view_reads,
            tasks=hosting.tasks,
            events=ports.events,
            drain_timeout=config.drain_timeout,
        )
    )
