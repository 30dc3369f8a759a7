"""The directory of one silo, assembled. `silo/preparing.py` builds it, and membership's agent delivers views to it.

The order of a view change is in `ClusterDirectory.on_view`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import msgspec

from grange.aio.tasks import Tasks
from grange.directory.client_locator import ClientLocator
from grange.directory.directory_client import DirectoryClient
from grange.directory.locator import ClusterLocator
from grange.directory.placer import Placer
from grange.directory.repair.consistency_checker import ConsistencyChecker
from grange.directory.repair.duplicates import Duplicates
from grange.directory.repair.sweep import Sweep
from grange.directory.service import DirectoryService
from grange.directory.slice.current_view import CurrentView
from grange.directory.slice.deps import DirectoryDeps, Slice
from grange.directory.slice.hold_timers import HoldTimers
from grange.directory.slice.local_registrations import LocalRegistrations
from grange.directory.slice.partition import Partition
from grange.directory.slice.topology import Topology
from grange.membership.model.member import View
from grange.proto.ids import SiloAddress
from grange.runtime.system_target import SystemTargets


class RepairCounts(msgspec.Struct, frozen=True):
    """Inconsistencies that this silo found since it started.

    `duplicates` counts second activations that were ended. `repaired` counts activations that were registered again.
    `stale` counts entries without an activation that were removed. On a healthy cluster `duplicates` is always 0, and
    the others rise only after lost messages.
    """

    duplicates: int = 0
    repaired: int = 0
    stale: int = 0


class ClusterDirectory:
    """The directory of one silo. Enter it with `async with`; leaving cancels and awaits its background tasks.

    `locator` is the runtime's `Locator` and `Claims`, `placer` chooses silos for new activations. `directory` is
    the `GrainDirectory` behind it. `partition` is this silo's slice, which management reads. `me` is this silo,
    and `loads` what it knows of the loads of all.
    """

    def __init__(self, deps: DirectoryDeps) -> None:
        self._tasks = Tasks()
        self.me = deps.me
        self.loads = deps.loads
        self.figures = deps.figures
        self._current = CurrentView(deps.refresh)
        self._duplicates = Duplicates(deps, self._tasks)
        self.partition = Partition()
        hold_timers = HoldTimers(self.partition.holds, self._current, self._tasks)
        slice = Slice(deps, self._current, self.partition, hold_timers, self._duplicates.report, self._tasks)
        registrations = LocalRegistrations(deps.registered)
        self._service = DirectoryService(slice, registrations)
        self.directory = DirectoryClient(slice, registrations)
        self._sweep = Sweep(slice)
        self._checker = ConsistencyChecker(slice, self.directory, self._sweep)
        self.placer = Placer(deps, self._current)
        self._clients = ClientLocator(deps, self._current, self._tasks)
        self.locator = ClusterLocator(deps, self._current, self.directory, self._sweep, self.placer, self._clients)

    async def __aenter__(self) -> Self:
        self._tasks.start(self._checker.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.close()

    def serve(self, targets: SystemTargets) -> None:
        """Register the directory's system targets. Call it before this silo joins."""
        self._service.serve(targets)
        self._checker.serve(targets)
        self._sweep.serve(targets)
        self._duplicates.serve(targets)
        self.placer.serve(targets)
        self._clients.serve(targets)

    @property
    def repairs(self) -> RepairCounts:
        """The inconsistencies found since the silo started."""
        return RepairCounts(self._duplicates.count, self._checker.repaired, self._sweep.removed)

    async def compare(self) -> None:
        """Compare the directory with the silos' activations now, without waiting for the next period."""
        await self._checker.compare()

    async def handed_over(self, seconds: float) -> bool:
        """Wait up to `seconds` until the new owners have fetched this silo's snapshots. Returns whether none is left.

        Called when this silo leaves, after its row shows LEAVING.
        """
        return await self._service.handover.handed_over(seconds)

    @property
    def topology(self) -> Topology:
        """The facts of the newest view."""
        return self._current.topology

    def on_lost(self, silo: SiloAddress) -> None:
        """The connection to this silo has broken: place no new grain there for a moment, if there is another silo."""
        self.placer.avoid(silo)

    def on_view(self, view: View) -> None:
        """Apply a newer view; ignore an older one. Called by membership's agent in the event loop. Never waits."""
        before = self._current.topology
        if view.version <= before.version:
            return
        after = Topology(view)
        self._current.topology = after
        self._service.on_view(before, after)
        self.locator.on_view(before, after)
        self._current.changed.fire()
