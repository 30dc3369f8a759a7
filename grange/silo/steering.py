"""What operators ask of one silo beside its figures: its acts and their audit, stored states, schemas, tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from grange.runtime.system_target import SystemTargets
from grange.silo.acts import Acts
from grange.silo.audit import AuditTrail
from grange.silo.config import SiloConfig
from grange.silo.deeds import DeedDeps, Deeds
from grange.silo.log_levels import LogLevels
from grange.silo.redaction import Redaction
from grange.silo.schemas import Schemas
from grange.silo.shutdown import Shutdown
from grange.silo.states import StoredStates
from grange.silo.tasks import serve_tasks
from grange.storage.provider import GrainStorage


class SteeringDeps(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The parts of a silo that its steering needs. `begin_drain` starts the stop; it may be called again."""

    config: SiloConfig
    now: Callable[[], datetime]
    name: str
    storages: Mapping[str, GrainStorage]
    shutdown: Shutdown
    begin_drain: Callable[[], None]


class Steering:
    """The parts, which a page or a tool of this process may use too."""

    def __init__(self, deps: SteeringDeps) -> None:
        stopping = deps.shutdown.deps
        address, catalog = stopping.address, stopping.catalog
        self._address = address
        self._levels = LogLevels()
        self.audit = AuditTrail(address, deps.now)
        deeds = Deeds(
            DeedDeps(
                name=deps.name,
                catalog=catalog,
                caller=stopping.caller,
                agent=stopping.agent,
                levels=self._levels,
                drained=deps.shutdown.state,
                begin_drain=deps.begin_drain,
            )
        )
        self.acts = Acts(address, deeds.all(), deps.config.actions, self.audit)
        self.states = StoredStates(address, catalog, deps.storages, Redaction(deps.config.redact))
        self.schemas = Schemas(address, catalog)

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        self.acts.serve(targets)
        self.states.serve(targets)
        self.schemas.serve(targets)
        serve_tasks(targets, self._address)

    def close(self) -> None:
        """Restore what was set for a while."""
        self._levels.close()
