"""The directory of one silo, put together: what `silo/startup.py` builds and membership's agent feeds with
views.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import msgspec

from grange.aio.tasks import Tasks
from grange.directory.locator import ClusterLocator
from grange.directory.partitioned import PartitionedDirectory
from grange.directory.repair.consistency_checker import ConsistencyChecker
from grange.directory.repair.duplicates import Duplicates
from grange.directory.repair.sweep import Sweep
from grange.directory.service import DirectoryService
from grange.directory.slice.current_view import CurrentView
from grange.directory.slice.deps import DirectoryDeps
from grange.directory.slice.local_registrations import LocalRegistrations
from grange.directory.slice.partition import Partition
from grange.directory.slice.slice import make_slice
from grange.directory.slice.topology import Topology
from grange.membership.model.member import View
from grange.runtime.system_target import SystemTargets


class Findings(msgspec.Struct, frozen=True):
    """Counts: second activations that were ended, activations that had to be registered again, entries without an
    activation. On a healthy cluster the first is always 0, the others after lost messages only.
    """

    duplicates: int = 0
    repaired: int = 0
    stale: int = 0


class ClusterDirectory:
    """`async with` for the life of the silo: what still runs in the background at its end is cancelled and awaited.

    `locator` is the runtime's `Locator` and `Claims`; `directory` the `GrainDirectory` behind it; `partition`
    this silo's slice, for management to look at.
    """

    def __init__(self, deps: DirectoryDeps) -> None:
        self._tasks = Tasks()
        self._current = CurrentView(deps.refresh)
        self._duplicates = Duplicates(deps, self._tasks)
        slice = make_slice(deps, self._current, self._tasks, self._duplicates.report)
        registrations = LocalRegistrations(deps.registered)
        self._service = DirectoryService(slice, registrations)
        self.partition: Partition = slice.partition
        self.directory = PartitionedDirectory(deps, self._current, registrations, slice.partition, self._tasks)
        self._sweep = Sweep(slice)
        self._checker = ConsistencyChecker(slice, self.directory, self._sweep)
        self.locator = ClusterLocator(deps, self._current, self.directory, self._sweep)

    async def __aenter__(self) -> Self:
        self._tasks.start(self._checker.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.close()

    def serve(self, targets: SystemTargets) -> None:
        """Offer this room's services to other silos; do it before this silo joins."""
        self._service.serve(targets)
        self._checker.serve(targets)
        self._sweep.serve(targets)
        self._duplicates.serve(targets)

    @property
    def findings(self) -> Findings:
        """What was found wrong since the silo started."""
        return Findings(self._duplicates.found, self._checker.repaired, self._sweep.removed)

    async def compare(self) -> None:
        """Compare the directory with what the silos run now, not only once in a period."""
        await self._checker.compare()

    async def handed_over(self, seconds: float) -> bool:
        """Wait until the new owners have fetched what they got from us; at most so long. True: nothing is left.

        Called by `silo/shutdown.py` when this silo leaves, after it says so in the table.
        """
        return await self._service.handover.handed_over(seconds)

    @property
    def topology(self) -> Topology:
        """What the newest view says."""
        return self._current.topology

    def on_view(self, view: View) -> None:
        """Take in a newer view; an older one is ignored. Called by membership's agent, in the loop, never
        waits.
        """
        before = self._current.topology
        if view.version <= before.version:
            return
        after = Topology(view)
        self._current.topology = after
        self._service.advance(before, after)
        self.locator.advanced(before, after)
        self._current.changed.fire()
