"""The reminders and jobs of one silo: the verbs, the news, and the service that delivers."""

from __future__ import annotations

import msgspec

from grange.grains.tick import DELIVERED, Jobs, MakesReminders
from grange.membership.model.member import View
from grange.observability.counters import ReminderFigures
from grange.observability.snapshot import ReminderSnapshot
from grange.proto.ids import GrainId, SiloAddress
from grange.reminders.news import NEWS, News
from grange.reminders.operators import OperatorReminders
from grange.reminders.owners import Owners
from grange.reminders.service import ReminderService
from grange.runtime.system_target import SystemTargets
from grange.silo.definition import SiloDefinition


class SiloReminders(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The parts of one silo. None: its storage keeps no reminders; and `service`, if no class of it has a hook."""

    make: MakesReminders | None = None
    jobs: Jobs | None = None
    news: News | None = None
    service: ReminderService | None = None
    owners: Owners | None = None
    operators: OperatorReminders | None = None
    figures: ReminderFigures = msgspec.field(default_factory=ReminderFigures)

    @property
    def slots(self) -> frozenset[int]:
        """The slots of this silo."""
        return frozenset() if self.service is None else self.service.agenda.slots

    def owner(self, grain_id: GrainId) -> SiloAddress | None:
        """The silo that delivers the reminders of a grain."""
        return None if self.owners is None else self.owners.owner(grain_id)

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target by which other silos tell of changes."""
        if self.news is not None:
            targets.serve(NEWS, self.news.answer)

    def on_view(self, view: View) -> None:
        """Subscriber of membership views."""
        if self.service is not None:
            self.service.on_view(view)

    def start(self) -> None:
        """Begin to deliver. The silo is active."""
        if self.service is not None:
            self.service.start()

    def snapshot(self) -> ReminderSnapshot:
        """The figures now."""
        figures, service = self.figures, self.service
        return ReminderSnapshot(
            slots=0 if service is None else len(service.agenda.slots),
            loaded=0 if service is None else len(service.agenda),
            under_way=0 if service is None else service.under_way,
            lateness=figures.lateness.frozen(),
            delivered=figures.delivered,
            failed=figures.failed,
            refused=figures.refused,
            missed=figures.missed,
            given_up=figures.given_up,
        )

    async def stop(self) -> None:
        """Deliver no more, and wait for the deliveries under way. Before the silo leaves its cluster."""
        if self.service is not None:
            await self.service.stop()

    async def kill(self) -> None:
        """End what still runs."""
        if self.service is not None:
            await self.service.kill()
        if self.news is not None:
            await self.news.close()


def delivers(definition: SiloDefinition) -> bool:
    """Whether this silo delivers reminders and jobs: a class of it has a hook for them, and no option forbids it."""
    return definition.config.reminder_settings().deliver and any(
        hasattr(cls, hook) for cls in definition.grains for hook in DELIVERED
    )
