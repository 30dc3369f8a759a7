"""The part of stage 7 of a start for observers: those of the clients of this silo, and those of code in its process."""

from __future__ import annotations

import random
from functools import partial

from grange.proto.clients import KEY_BYTES, client_id
from grange.runtime.observers.host import HostDeps, ObserverHost
from grange.runtime.observers.routes import ClientRoutes
from grange.silo.definition import SiloDefinition
from grange.silo.environment import SiloEnvironment
from grange.silo.stages import Calls, Cluster, Ports


def prepare_clients(
    definition: SiloDefinition, environment: SiloEnvironment, ports: Ports, cluster: Cluster, calls: Calls
) -> ClientRoutes:
    """The clients that grains may call, with the observers of code in this process."""
    options, deps = definition.config.runtime_options(), calls.deps
    chance = random.SystemRandom() if environment.real_time else environment.random
    own = ObserverHost(
        client_id(chance.randbytes(KEY_BYTES)),
        calls.plans,
        definition.filters.incoming,
        HostDeps(cluster.gate, options.mailbox_limit),
        partial(chance.getrandbits, 64),
    )
    return_time = definition.config.directory_options().client_return
    return ClientRoutes(ports.address, own, deps.deadlines, deps.faults, options.client_requests, return_time)
