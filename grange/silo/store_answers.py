"""The system target that checks the stores of a silo, as `grange doctor` does, but without a trial that writes.

It also lists the rows of state that this silo could not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from grange.proto.acts import Level
from grange.proto.ids import SiloAddress
from grange.proto.inspection import STORES, StoreRow, Stores
from grange.proto.management import encode
from grange.runtime.system_target import SystemTargets
from grange.silo.store_checks import StoreReport
from grange.storage.guards.unreadable import UnreadableRow, UnreadableRows

KEPT = 60.0
"""Seconds for which a check counts: each opens a connection of its own to every store."""

TIMEOUT = 2.0
"""Seconds for the checks of all stores."""


class StoreAnswers:
    """The answer of one silo. Make it in the event loop of the silo. `check` checks its stores."""

    def __init__(
        self,
        address: SiloAddress,
        check: Callable[[], Awaitable[list[StoreReport]]],
        unreadable: Mapping[str, UnreadableRows],
    ) -> None:
        self._address = address
        self._check = check
        self._unreadable = unreadable
        self._loop = asyncio.get_running_loop()
        self._checking = asyncio.Lock()
        self._until = 0.0
        self._rows: tuple[StoreRow, ...] = ()

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target."""
        targets.serve(STORES, self._answer, Level.VIEWER)

    async def check(self) -> Stores:
        """The findings about each store; those of the last minute if there are any. One check runs at a time.

        The rows of state that do not fit their types come last, as they are known now.
        """
        async with self._checking:
            if self._loop.time() >= self._until:
                self._rows = await self._checked()
                self._until = self._loop.time() + KEPT
        unreadable = (_unreadable(name, row) for name, rows in self._unreadable.items() for row in rows.rows)
        return Stores(self._address, (*self._rows, *unreadable))

    async def _checked(self) -> tuple[StoreRow, ...]:
        try:
            async with asyncio.timeout(TIMEOUT):
                found = await self._check()
        except TimeoutError:
            return (StoreRow("all stores", "", "bad", "check", f"it did not end within {TIMEOUT:g} s"),)
        return tuple(row for report in found for row in _rows(report))

    async def _answer(self, _: bytes) -> bytes:
        return encode(await self.check())


def _rows(report: StoreReport) -> list[StoreRow]:
    uses = ", ".join(report.stores)
    return [
        StoreRow(uses, report.place, str(each.level), each.subject, each.found, each.remedy) for each in report.findings
    ]


def _unreadable(store: str, row: UnreadableRow) -> StoreRow:
    found = (
        f"it does not fit its type at {row.place}: version {row.stored} of the type stored it, this silo has version "
        f"{row.known}"
    )
    subject = f"state {row.state!r} of {row.grain_id}"
    return StoreRow(f"storage {store}", "", "warn", subject, found, "docs/runbooks/state_unreadable.md")
