"""The steps of the start of one silo with their times: the page of the silo shows which one was slow."""

from __future__ import annotations

import asyncio

from grange.proto.inspection import StepRow


class StartSteps:
    """Made when the start begins; each step is noted when it has ended."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self.rows: tuple[StepRow, ...] = ()

    def ended(self, name: str) -> None:
        """A step has ended: it lasted since the one before."""
        now = self._loop.time()
        self.rows = (*self.rows, StepRow(name, now - self._last))
        self._last = now
