"""The start of a silo, in two steps: `assemble` makes the parts, `admit_and_join` opens the silo to the cluster.

Read `make_stages` from top to bottom: one function per stage, each returning a value of `stages.py`. The first three
are in `opening.py`, the others in `preparing.py`. Grains call and are called, so the parts form a ring; `ring.py` is
the one place that closes it. After that the silo port admits other silos, and then the silo joins, so it answers before
any other silo knows it.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from grange.observability.catalogue import SiloActive, SiloJoining
from grange.observability.tracing import exporting_figures
from grange.proto.acts import Level
from grange.runtime.activations.stuck_turns import StuckTurns
from grange.runtime.calls.inbound import report_statuses
from grange.runtime.deadlocks.detector import DeadlockDetector
from grange.runtime.deadlocks.local_waits import LocalWaits
from grange.runtime.system_target import BARRIER
from grange.silo.admin_view import show_to_admin
from grange.silo.allowed import AllowedAnswers
from grange.silo.control import Control
from grange.silo.definition import SiloDefinition
from grange.silo.doubts import DoubtsTarget
from grange.silo.environment import SiloEnvironment
from grange.silo.figures import Figures
from grange.silo.flood_reports import report_floods
from grange.silo.inspection import Inspection
from grange.silo.journal import Journal, keep_log_lines
from grange.silo.lifecycle import Lifecycle
from grange.silo.loop_lag import measure_lag
from grange.silo.loop_watch import watch_of_loop
from grange.silo.memory_shedding import MemoryShedding, limit_of
from grange.silo.opening import open_ports, open_stores, open_tracing, process_of
from grange.silo.own_code import OwnCode
from grange.silo.preparing import (
    prepare_calls,
    prepare_cluster,
    prepare_gossip,
    prepare_hosting,
    prepare_links,
    prepare_shutdown,
)
from grange.silo.preparing_authorization import in_force, prepare_authorization
from grange.silo.ring import Ring
from grange.silo.running import RunningSilo
from grange.silo.secret_options import event_of, follow_tokens
from grange.silo.stages import Stages
from grange.silo.traces import TraceAnswers
from grange.silo.trust import TrustTarget


async def assemble(
    parts: AsyncExitStack, definition: SiloDefinition, environment: SiloEnvironment, lifecycle: Lifecycle
) -> RunningSilo:
    """Make every part, in order. Called by `Silo.start`, which stops the `parts` in reverse if a stage fails.

    Raises ConfigurationError, StorageUnavailable or MembershipUnavailable.
    """
    definition.check()
    secrets = definition.secrets
    logs = keep_log_lines(parts, definition.config, None if secrets is None else secrets.known)
    stages = await make_stages(parts, definition, environment, lifecycle)
    ports, links, cluster, calls, hosting = stages.ports, stages.links, stages.cluster, stages.calls, stages.hosting
    figures = Figures(stages, definition.config.all_labels, environment.utc_now, secrets=secrets)
    if secrets is not None:
        secrets.report = lambda news: ports.events.publish(event_of(news))
        hosting.tasks.start(follow_tokens(definition.config, secrets, hosting.identities))
    process = process_of(definition, ports)
    await parts.enter_async_context(exporting_figures(definition.telemetry, process, figures.snapshot))
    own_code = OwnCode(definition, ports.events, environment.random)
    shutdown = prepare_shutdown(definition.config, ports, cluster, calls, hosting, own_code)
    control = Control(definition.config, environment, stages, shutdown, lifecycle)
    parts.callback(control.close)
    waits = LocalWaits(hosting.catalog.deps, calls.deps, hosting.silo_inbound)
    gossip = prepare_gossip(definition.config, environment, links, cluster, hosting, figures)
    silo = RunningSilo(
        ports=ports, stores=stages.stores, links=links, cluster=cluster, calls=calls, hosting=hosting, gossip=gossip,
        inspection=Inspection(ports.address, figures, hosting.catalog, cluster.directory, waits.awaited_by), logs=logs,
        deadlocks=DeadlockDetector(ports.address, waits, links.sender.ask, ports.events), shutdown=shutdown,
        real_time=environment.real_time, loop_watch=watch_of_loop(definition.config, ports.events, cluster.liveness),
        control=control, lifecycle=lifecycle, own_code=own_code,
    )  # fmt: skip
    serve_system_targets(silo)
    show_to_admin(silo, definition.config)
    return silo


async def make_stages(
    parts: AsyncExitStack, definition: SiloDefinition, environment: SiloEnvironment, lifecycle: Lifecycle
) -> Stages:
    """Make the stages, and close the ring of those that call each other."""
    steps = lifecycle.steps
    opened = await open_ports(parts, definition.config, environment)
    steps.ended("open the ports")
    ports, stores = await open_stores(parts, definition, environment, opened, lifecycle)
    steps.ended("open the stores and services")
    traces = await open_tracing(parts, definition, environment, ports)
    steps.ended("open telemetry")
    links = prepare_links(parts, definition, environment, ports, traces)
    ring = Ring(links)
    cluster = prepare_cluster(definition, environment, ports, stores, links, ring)
    calls = prepare_calls(definition, environment, (ports, stores, links, cluster), lifecycle.binding)
    hosting = prepare_hosting(definition, environment, (ports, stores, links, cluster), calls)
    hosting.catalog.authorization = prepare_authorization(definition, ports, hosting.catalog.hosted.values())
    stores.audit.of_calls(hosting.catalog)
    stores.audit.of_questions(hosting.silo_targets, hosting.client_targets)
    parts.callback(hosting.catalog.deps.threads.close)
    parts.callback(hosting.renewals.watch())
    ring.bind(calls, hosting)
    return Stages(ports=ports, stores=stores, links=links, cluster=cluster, calls=calls, hosting=hosting)


async def admit_and_join(parts: AsyncExitStack, silo: RunningSilo) -> None:
    """Admit other silos, then join, start the application's own code, then admit clients.

    Called by `Silo.start` after `assemble`. The stop of the silo is the last part on the stack, so it runs first.
    Raises JoinFailed, DeclaredDead, MembershipUnavailable or StartupFailed.
    """
    ports, cluster, hosting = silo.ports, silo.cluster, silo.hosting
    report_floods((ports.silo_listener, ports.client_listener), hosting.admission.allowances, ports.events)
    await parts.enter_async_context(cluster.directory)
    parts.push_async_callback(silo.stop_or_kill)
    start_tasks(silo)
    cluster.agent.subscribe(silo.learn_roads)  # before all that may connect
    # The guards come before the directory: a grain that moves here in this view must wait for the recorded deaths.
    cluster.agent.subscribe(silo.stores.guards.on_view)
    cluster.agent.subscribe(cluster.directory.on_view)
    cluster.agent.subscribe(silo.drop_connections)
    cluster.agent.subscribe(silo.calls.hosted_services.on_view)
    cluster.agent.subscribe(hosting.reminders.on_view)
    silo.stores.guards.subscribe_fenced(cluster.agent.on_fenced_by_store)
    ports.silo_listener.admit(ports.address, hosting.silo_inbound, hosting.identities.admit)
    silo.lifecycle.steps.ended("make the parts")
    await cluster.agent.start()
    silo.lifecycle.steps.ended("read the membership table")
    ports.probe_port.serve(ports.address, cluster.agent.answer_probe, silo.loop_watch)
    hosting.catalog.takes = cluster.directory.locator.takes
    hosting.catalog.serving = cluster.directory.placer.serving
    hosting.catalog.open()
    if silo.calls.deps.own:  # calls have identities
        ports.events.publish(in_force(hosting.catalog.authorization))
    ports.events.publish(SiloJoining(ports.cluster))
    await cluster.agent.join()
    silo.lifecycle.steps.ended("join")
    await silo.calls.hosted_services.start()
    await silo.own_code.start_up()
    silo.own_code.run()
    hosting.reminders.start()
    silo.lifecycle.steps.ended("start the application's services")
    ports.admin.health.joined()
    ports.client_listener.admit(ports.address, hosting.client_inbound, hosting.identities.admit)
    ports.events.publish(SiloActive(ports.cluster))


def start_tasks(silo: RunningSilo) -> None:
    """Start what the silo does all the time. The stop of the silo ends these tasks."""
    hosting, events = silo.hosting, silo.ports.events
    hosting.tasks.start(hosting.collector.run())
    hosting.tasks.start(StuckTurns(hosting.catalog.deps, events).run())
    hosting.tasks.start(silo.deadlocks.run())
    if silo.real_time:
        hosting.tasks.start(measure_lag(silo.inspection.figures.lag, hosting.admission.shedder, events))
    if limit := limit_of(hosting.catalog.deps.options, silo.real_time):
        hosting.tasks.start(MemoryShedding(hosting.catalog, events, limit).run())
    hosting.tasks.start(silo.gossip.run())
    hosting.tasks.start(hosting.rebalancer.run())
    hosting.tasks.start(report_statuses((hosting.silo_inbound, hosting.client_inbound), hosting.renewals.look))


def serve_system_targets(silo: RunningSilo) -> None:
    """Offer membership and directory to other silos; management and the stop to other silos and to clients."""
    hosting = silo.hosting
    traces = silo.links.traces
    silo.cluster.agent.serve(hosting.silo_targets)
    silo.cluster.directory.serve(hosting.silo_targets)
    silo.calls.hosted_services.serve(hosting.silo_targets)
    hosting.reminders.serve(hosting.silo_targets)
    silo.deadlocks.serve(hosting.silo_targets)
    hosting.migration.serve(hosting.silo_targets)
    silo.gossip.serve(hosting.silo_targets)
    answers = (
        hosting.management,
        hosting.view_reads,
        hosting.rebalancer,
        hosting.queries,
        silo.inspection,
        Journal(silo.ports.address, silo.ports.events, silo.logs),
        DoubtsTarget(silo.cluster.agent, silo.links.peers),
        silo.shutdown,
        silo.control,
        TraceAnswers(silo.ports.address, traces.spans, traces.kept),
        TrustTarget(silo.ports.address, None if silo.ports.tls is None else silo.ports.tls.material, hosting.renewals),
        AllowedAnswers(hosting.catalog, hosting.identities),
    )
    hosting.client_targets.serve(BARRIER, _nothing, Level.NONE)
    for targets in (hosting.silo_targets, hosting.client_targets):
        for each in answers:
            each.serve(targets)


async def _nothing(_: bytes) -> bytes:
    """Answers `connection.barrier`."""
    return b""
