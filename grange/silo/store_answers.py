"""The system target that checks the stores of a silo, as `grange doctor` does, but without a trial that writes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from grange.proto.acts import Level
from grange.proto.ids import SiloAddress
from grange.proto.inspection import STORES, StoreRow, Stores
from grange.proto.management import encode
from grange.runtime.system_target import SystemTargets
from grange.silo.store_checks import StoreReport

KEPT = 60.0
"""Seconds for which a check counts: each opens a connection of its own to every store."""

TIMEOUT = 2.0
"""Seconds for the checks of all stores."""


class StoreAnswers:
    """The answer of one silo. Make it in the event loop of the silo. `check` checks its stores."""

    def __init__(self, address: SiloAddress, check: Callable[[], Awaitable[list[StoreReport]]]) -> None:
        self._address = address
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._checking = asyncio.Lock()
        self._until = 0.0
        self._rows: tuple[StoreRow, ...] = ()

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target."""
        targets.serve(STORES, self._answer, Level.VIEWER)

    async def check(self) -> Stores:
        """The findings about each store; those of the last minute if there are any. One check runs at a time."""
        async with self._checking:
            if self._loop.time() >= self._until:
                self._rows = await self._checked()
                self._until = self._loop.time() + KEPT
            return Stores(self._address, self._rows)

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
