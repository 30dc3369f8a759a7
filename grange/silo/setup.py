"""The system target that answers how a silo is set up: its options without secrets, its connections, its start."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, cast

from grange.proto.acts import Level
from grange.proto.inspection import MAX_ROWS, SETUP, ConnectionRow, Setup
from grange.proto.management import encode
from grange.runtime.calls.inbound import Inbound
from grange.runtime.system_target import SystemTargets
from grange.silo.config import SiloConfig
from grange.silo.stages import Stages
from grange.silo.start_steps import StartSteps


class SetupTarget:
    """The answer of one silo. Make it in the event loop of the silo."""

    def __init__(self, config: SiloConfig, stages: Stages, steps: StartSteps) -> None:
        self._options = options_of(config)
        self._stages = stages
        self._steps = steps
        self._loop = asyncio.get_running_loop()

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target."""
        targets.serve(SETUP, self._answer, Level.VIEWER)

    def setup(self) -> Setup:
        """The options and connections now; at most `MAX_ROWS` connections, those with silos first."""
        hosting = self._stages.hosting
        silos = (*self._to_silos(), *self._accepted(hosting.silo_inbound, "from silo"))
        clients = self._accepted(hosting.client_inbound, "client")
        rows = (*silos, *islice(clients, max(0, MAX_ROWS - len(silos))))
        more = len(silos) + len(hosting.client_inbound.connected) - len(rows)
        observers = hosting.clients.observers
        return Setup(self._stages.ports.address, self._options, rows, more, self._steps.rows, observers)

    def _to_silos(self) -> Iterator[ConnectionRow]:
        links, agent = self._stages.links, self._stages.cluster.agent
        for member in agent.view.members:
            silo = member.address
            connection, link = links.peers.current(silo), links.sender.link(silo)
            if connection is not None:
                pending = 0 if link is None else link.pending
                took = agent.last_answer(silo)
                quiet = self._loop.time() - connection.last_received
                rtt = -1.0 if took is None else took
                yield ConnectionRow(member.name, "to silo", connection.unwritten, pending, quiet, rtt)

    def _accepted(self, inbound: Inbound, kind: str) -> Iterator[ConnectionRow]:
        for each in inbound.connected:
            quiet = self._loop.time() - each.connection.last_received
            unwritten = each.connection.unwritten
            identity = "" if each.identity is None else str(each.identity)
            yield ConnectionRow(
                each.peer, kind, unwritten, each.in_progress, quiet, called=each.called, identity=identity
            )

    async def _answer(self, _: bytes) -> bytes:
        return encode(self.setup())


def options_of(config: SiloConfig) -> dict[str, str]:
    """The options as text, without passwords and tokens; those in a table as `table.option`."""
    found: dict[str, str] = {}
    for name, value in config.__repr_args__():
        if isinstance(value, Mapping):
            table = cast("Mapping[str, Any]", value)
            found |= {f"{name}.{key}": str(each) for key, each in table.items()}
        elif name is not None:
            found[name] = str(value)
    return found
