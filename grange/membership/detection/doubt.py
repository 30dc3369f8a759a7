"""The questions to one silo that has missed a probe, until it answers or a vote is allowed. Used by `prober.py`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any

from grange.aio.tasks import Tasks
from grange.membership.detection.gossip import STOP_THRESHOLD
from grange.proto.ids import SiloAddress

NOTICEABLE = 0.05
"""Seconds of lateness that count: a timer of a healthy loop is late by a few milliseconds."""


class Doubt:
    """One silence. All questions wait at the same time, and one answer to any of them ends the doubt.

    `witness` is the last third silo that asked the silo itself and got no answer. `reported`: the time of the last
    report of the silo as a suspect. `asked`: the time of the last round of questions. `late`: seconds by which this
    process was late meanwhile.
    """

    def __init__(self) -> None:
        self.began = _now()
        self.answered = asyncio.Event()
        self.witness: SiloAddress | None = None
        self.reported: float | None = None
        self.rounds = 0
        self.asked = -math.inf
        self.late = 0.0
        self._tasks = Tasks()

    def ask(self, question: Coroutine[Any, Any, None]) -> None:
        """Ask one question, beside those that wait."""
        self._tasks.start(question)

    async def wait_until(self, time: float) -> bool:
        """Wait for an answer, at most until then. False: this process stood still meanwhile."""
        try:
            async with asyncio.timeout(max(0.0, time - _now())):
                await self.answered.wait()
        except TimeoutError:
            pass
        late = _now() - time
        if late > NOTICEABLE:
            self.late += late
        return late <= STOP_THRESHOLD

    async def close(self) -> None:
        """Drop the questions that wait."""
        await self._tasks.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
