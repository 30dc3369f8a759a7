"""What operators ask of one silo beside its figures: acts and their audit, stored states, schemas, options, tasks."""

from __future__ import annotations

from functools import partial

from grange.runtime.system_target import SystemTargets
from grange.silo.acts import Acts
from grange.silo.balance_operations import BalanceOperations
from grange.silo.config import SiloConfig
from grange.silo.environment import SiloEnvironment
from grange.silo.lifecycle import Lifecycle
from grange.silo.log_levels import LogLevels
from grange.silo.operations import OperationDeps, Operations
from grange.silo.redaction import Redaction
from grange.silo.reminder_operations import ReminderOperations
from grange.silo.schemas import Schemas
from grange.silo.setup import SetupTarget
from grange.silo.shutdown import Shutdown
from grange.silo.stages import Stages
from grange.silo.states import StoredStates
from grange.silo.store_answers import StoreAnswers
from grange.silo.tasks import serve_tasks


class Control:
    """The parts, which a page or a tool of this process may use too.

    `environment` has the wall clock and the stores.
    """

    def __init__(
        self,
        config: SiloConfig,
        environment: SiloEnvironment,
        stages: Stages,
        shutdown: Shutdown,
        lifecycle: Lifecycle,
    ) -> None:
        address, catalog = stages.ports.address, stages.hosting.catalog
        self._address = address
        self._levels = LogLevels()
        self.audit = stages.stores.audit.trail
        operations = Operations(
            OperationDeps(
                name=stages.ports.name,
                catalog=catalog,
                caller=stages.calls.caller,
                agent=stages.cluster.agent,
                levels=self._levels,
                versions=stages.cluster.versions,
                drained=shutdown.state,
                begin_drain=partial(lifecycle.ask_to_stop, address),
            )
        )
        directory = stages.cluster.directory
        places = BalanceOperations(catalog, directory.placer, stages.cluster.agent, stages.hosting.rebalancer)
        self.reminders = ReminderOperations(address, stages.hosting.reminders)
        every = {**operations.all(), **places.all(), **self.reminders.all()}
        self.acts = Acts(address, every, config.actions, self.audit, bool(stages.calls.deps.own))
        self.states = StoredStates(address, catalog, stages.stores.guards.storages, Redaction(config.redact))
        self.schemas = Schemas(address, catalog)
        self.setup = SetupTarget(config, stages, lifecycle.steps)
        self.stores = StoreAnswers(address, environment.check_stores, stages.stores.guards.unreadable)

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system targets."""
        self.acts.serve(targets)
        self.reminders.serve(targets)
        self.states.serve(targets)
        self.schemas.serve(targets)
        self.setup.serve(targets)
        self.stores.serve(targets)
        serve_tasks(targets, self._address)

    def close(self) -> None:
        """Restore what was set for a while."""
        self._levels.close()
