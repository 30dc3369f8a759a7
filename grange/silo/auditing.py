"""The audit of one silo: opens its table, and has what is refused at the ports and in management in the audit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from grange.aio.tasks import Tasks
from grange.audit.audited import audit_calls
from grange.audit.denials import Denials
from grange.audit.provider import Origin
from grange.audit.trail import AuditTrail
from grange.audit.writer import TableWriter
from grange.errors import HandshakeRefused
from grange.observability.events import Events
from grange.observability.security_snapshot import AuditSnapshot
from grange.proto.acts import Asker, Denial, Level
from grange.proto.handshake import Hello
from grange.proto.identity import Identity
from grange.proto.ids import SiloAddress
from grange.proto.message import Request
from grange.runtime.activations.catalog import Catalog
from grange.runtime.system_target import SystemTargets
from grange.security.certificate import Certificate
from grange.silo.config import SiloConfig
from grange.silo.environment import SiloEnvironment
from grange.silo.gated_listener import GatedListener
from grange.silo.lifecycle import Lifecycle

FLUSH_TIMEOUT = 10.0
"""Most seconds of the drain time for the rows that wait for the table when the silo stops."""


class SiloAudit(msgspec.Struct, frozen=True, eq=False):
    """The parts: the rows, and the refused callers among them."""

    trail: AuditTrail
    denials: Denials

    def at_ports(self, **listeners: GatedListener) -> None:
        """Have peers that these listeners refuse in the audit. Each has the name of its port."""
        for port, listener in listeners.items():
            listener.denied = partial(self._note_peer, port.replace("_", " "))

    def of_calls(self, catalog: Catalog) -> None:
        """Have refused calls, and those of methods that are `@audited`, in the audit."""
        if catalog.authorization is not None:
            catalog.authorization.note = self.denials.note
        audit_calls((plan for hosted in catalog.hosted.values() for plan in hosted.plans.values()), self.trail)

    def of_questions(self, *targets: SystemTargets) -> None:
        """Have questions of management that are refused in the audit, and requests that name a wrong identity."""
        for each in targets:
            each.denied = self._note_question
            each.forged = self._note_forged

    def snapshot(self) -> AuditSnapshot:
        """The figures."""
        writer, denials = self.trail.writer, self.denials
        return AuditSnapshot(
            dict(self.trail.counts), dict(denials.counts), denials.suppressed,
            0 if writer is None else writer.waiting, 0 if writer is None else writer.lost,
        )  # fmt: skip

    def _note_peer(self, port: str, hello: Hello, certificate: Certificate | None, refused: HandshakeRefused) -> None:
        identity = Identity(certificate.uri) if certificate is not None and certificate.uri else None
        self.denials.note(identity, Denial("handshake", "connect", port, str(refused), name=hello.name))

    def _note_question(self, asker: Asker, service: str, needed: Level) -> None:
        has = asker.level.name.lower() if asker.level else "no role"
        reason = f"it needs the role {needed.name.lower()}, and the caller has {has}"
        self.denials.note(asker.identity, Denial("question", service, "", reason, name=asker.name))

    def _note_forged(self, asker: Asker, request: Request, reason: str) -> None:
        grain_id = request.grain_id
        action, target = f"{grain_id.type}/{request.method}", f"{grain_id.type}/{grain_id.key}"
        self.denials.note(asker.identity, Denial("call", action, target, reason, name=asker.name))


@asynccontextmanager
async def auditing(
    config: SiloConfig, environment: SiloEnvironment, address: SiloAddress, events: Events, lifecycle: Lifecycle
) -> AsyncGenerator[SiloAudit]:
    """The audit of a silo, until the rows that wait at its end are in the table, or the time for them is over."""
    loop, now = asyncio.get_running_loop(), environment.utc_now
    origin = Origin(config.cluster, str(environment.writer(address)))
    async with environment.audit_table(origin) as table:
        if table is None:
            trail = AuditTrail(address, now, events)
            yield SiloAudit(trail, Denials(trail, loop.time))
            return
        writer, tasks = TableWriter(table, events, environment.random), Tasks()
        trail = AuditTrail(address, now, events, writer, config.audit_required)
        task = tasks.start(writer.run())
        try:
            yield SiloAudit(trail, Denials(trail, loop.time))
        finally:
            await writer.close(task, 0 if lifecycle.killed else min(config.drain_timeout, FLUSH_TIMEOUT))
