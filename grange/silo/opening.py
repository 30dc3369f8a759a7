"""The first stages of a start, which open what may be refused: ports, stores, services, exporters of telemetry.

`startup.py` calls them in order; each pushes what it opened onto the silo's stack of parts.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from grange.errors import ConfigurationError
from grange.observability.events import Events
from grange.observability.kept_traces import KeptTraces
from grange.observability.telemetry import Process
from grange.observability.tracing import tracing
from grange.proto.handshake import Role
from grange.proto.ids import SiloAddress, endpoint_of
from grange.silo.admin import AdminPort
from grange.silo.auditing import auditing
from grange.silo.config import SiloConfig
from grange.silo.definition import SiloDefinition
from grange.silo.environment import SiloEnvironment
from grange.silo.gated_listener import GatedListener
from grange.silo.lifecycle import Lifecycle
from grange.silo.new_address import new_address
from grange.silo.option_checks import check_insecure
from grange.silo.probe_port import ProbePort
from grange.silo.services import open_services
from grange.silo.stages import OpenPorts, Ports, Stores, Tracing
from grange.storage.guards.stores import GuardDeps, StorageGuards
from grange.transport.provider import Transport


async def open_ports(parts: AsyncExitStack, config: SiloConfig, environment: SiloEnvironment) -> OpenPorts:
    """Stage 1, because the silo's address contains its port. The ports admit no connection before `admit_and_join`."""
    check_insecure(config)
    tls = await parts.enter_async_context(environment.tls())
    if config.tls_options().is_given and tls is None:
        raise config.wrong(("tls",), "this silo is on a network in memory, which has no TLS; remove all but speaks_for")
    admin = await parts.enter_async_context(AdminPort())
    with config.naming("http", host="http_host" if config.http_host else "host"):
        if config.http != "off" and not environment.real_time:
            raise ConfigurationError("a silo in virtual time has no admin port: it is a thread, which needs real time")
        await admin.open(config, tls)
    transport = await parts.enter_async_context(environment.transport(None if tls is None else tls.transport))
    probe_port = await parts.enter_async_context(ProbePort())
    with config.naming("probe_port"):
        place, tls_port = (config.host, config.probe_port), config.tls_options().probe_port
        await probe_port.open(transport, place, config.cluster, tls_port)
    silo_listener = GatedListener(Role.SILO, config.cluster, tls)
    client_listener = GatedListener(Role.CLIENT, config.cluster, tls)
    port, gateway_port = await _listen(config, transport, silo_listener, client_listener)
    parts.enter_context(environment.recorded(endpoint_of(config.host, gateway_port)))
    return OpenPorts(
        admin=admin,
        transport=transport,
        probe_port=probe_port,
        silo_listener=silo_listener,
        client_listener=client_listener,
        tls=tls,
        gateway_port=gateway_port,
        host=config.public_host,
        port=port,
    )


async def _listen(
    config: SiloConfig, transport: Transport, for_silos: GatedListener, for_clients: GatedListener
) -> tuple[int, int]:
    """Open the ports for silos and clients. Returns the numbers of the first ones."""
    tls = config.tls_options()
    with config.naming("port"):
        port = await for_silos.listen(transport, config.host, config.port)
    with config.naming("gateway_port"):
        gateway_port = await for_clients.listen(transport, config.host, config.gateway_port)
    with config.naming("tls", "port"):
        await for_silos.listen_tls(transport, config.host, tls.port)
    with config.naming("tls", "gateway_port"):
        await for_clients.listen_tls(transport, config.host, tls.gateway_port)
    with config.naming("road_port"):
        await for_silos.listen_road(transport, config.host, config.road_port)
    with config.naming("gateway_road_port"):
        await for_clients.listen_road(transport, config.host, config.gateway_road_port)
    return port, gateway_port


async def open_stores(
    parts: AsyncExitStack, definition: SiloDefinition, environment: SiloEnvironment, opened: OpenPorts,
    lifecycle: Lifecycle,
) -> tuple[Ports, Stores]:  # fmt: skip
    """Stage 2: the databases, and the services of the grains, which may need time to connect.

    The databases know earlier silos at this endpoint, so they complete this silo's address.
    """
    config = definition.config
    table = await parts.enter_async_context(environment.table())
    storages = await parts.enter_async_context(environment.storages())
    address = await new_address(
        opened.host, opened.port, environment.generation(), table, storages.values(), environment.writer
    )
    name = config.name or address.endpoint
    events = Events(str(address), environment.utc_now, {"silo": name, "generation": address.generation})
    if opened.tls is not None:
        opened.tls.bind(events)
    timeout = config.storage_settings().operation_timeout
    guards = StorageGuards(
        storages,
        GuardDeps(address, environment.random, timeout, events, environment.writer, environment.first_change()),
    )
    audit = await parts.enter_async_context(auditing(config, environment, address, events, lifecycle))
    audit.at_ports(silo_port=opened.silo_listener, gateway_port=opened.client_listener)
    return _named(opened, config, address, events), Stores(
        table=table,
        audit=audit,
        guards=await parts.enter_async_context(guards),
        services=await parts.enter_async_context(open_services(definition.services)),
    )


def _named(opened: OpenPorts, config: SiloConfig, address: SiloAddress, events: Events) -> Ports:
    return Ports(
        admin=opened.admin,
        transport=opened.transport,
        probe_port=opened.probe_port,
        silo_listener=opened.silo_listener,
        client_listener=opened.client_listener,
        tls=opened.tls,
        gateway_port=opened.gateway_port,
        address=address,
        name=config.name or address.endpoint,
        cluster=config.cluster,
        events=events,
    )


async def open_tracing(
    parts: AsyncExitStack, definition: SiloDefinition, environment: SiloEnvironment, ports: Ports
) -> Tracing:
    """Stage 3: the traces, and their exporters; nothing without telemetry. At the stop they end after the drain."""
    traces = tracing(definition.telemetry, process_of(definition, ports), environment.random, environment.utc_now)
    spans = await parts.enter_async_context(traces)
    if spans is None:
        return Tracing(spans=None, kept=None)
    kept = spans.kept = KeptTraces(spans.now, spans.time)
    return Tracing(spans=spans, kept=kept)


def process_of(definition: SiloDefinition, ports: Ports) -> Process:
    """The names of this silo in its traces and figures."""
    name = ports.name if definition.config.name else str(ports.address)
    facts = {"grange.silo": str(ports.address)}
    return Process(service=definition.config.service, cluster=ports.cluster, name=name, facts=facts)
