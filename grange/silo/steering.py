"""What operators ask of one silo beside its figures: acts and their audit, stored states, schemas, options, tasks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from grange.runtime.system_target import SystemTargets
from grange.silo.acts import Acts
from grange.silo.audit import AuditTrail
from grange.silo.balance_deeds import BalanceDeeds
from grange.silo.config import SiloConfig
from grange.silo.deeds import DeedDeps, Deeds
from grange.silo.log_levels import LogLevels
from grange.silo.redaction import Redaction
from grange.silo.schemas import Schemas
from grange.silo.setup import SetupTarget
from grange.silo.shutdown import Shutdown
from grange.silo.stages import Stages
from grange.silo.states import StoredStates
from grange.silo.tasks import serve_tasks


class Steering:
    """The parts, which a page or a tool of this process may use too.

    `now` is the wall clock. `begin_drain` starts the stop of the silo; it may be called again.
    """

    def __init__(
        self,
        config: SiloConfig,
        now: Callable[[], datetime],
        stages: Stages,
        shutdown: Shutdown,
        begin_drain: Callable[[], None],
    ) -> None:
        address, catalog = stages.ports.address, stages.hosting.catalog
        self._address = address
        self._levels = LogLevels()
        self.audit = AuditTrail(address, now, stages.ports.events)
        deeds = Deeds(
            DeedDeps(
                name=stages.ports.name,
                catalog=catalog,
                caller=stages.calls.caller,
                agent=stages.cluster.agent,
                levels=self._levels,
                versions=stages.cluster.versions,
                drained=shutdown.state,
                begin_drain=begin_drain,
            )
        )
        directory = stages.cluster.directory
        places = BalanceDeeds(catalog, directory.placer, stages.cluster.agent, stages.hosting.rebalancer)
        self.acts = Acts(address, {**deeds.all(), **places.all()}, config.actions, self.audit)
        self.states = StoredStates(address, catalog, stages.stores.guards.storages, Redaction(config.redact))
        self.schemas = Schemas(address, catalog)
        self.setup = SetupTarget(config, stages)

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        self.acts.serve(targets)
        self.states.serve(targets)
        self.schemas.serve(targets)
        self.setup.serve(targets)
        serve_tasks(targets, self._address)

    def close(self) -> None:
        """Restore what was set for a while."""
        self._levels.close()
