"""Measures how long the running event loop is held: the processor time of its thread between two selects.

Processor time, not wall time: other programs of the machine do not count. Passes of the garbage collector are counted
apart, because `grange run` paces them (`grange/cli/garbage.py`). It needs asyncio's own loop, which is slower than
uvloop, so no hold of a silo under uvloop is longer.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Holds:
    """The holds of one loop since `watched` began, in milliseconds. `longest` leaves out the garbage collector."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.collector = 0.0
        self.iterations = 0
        self._began = time.thread_time()
        self._collecting = 0.0
        self._collected = 0.0

    def document(self) -> dict[str, float]:
        """The figures, rounded."""
        return {
            "longest_ms": round(self.longest, 1),
            "collector_ms": round(self.collector, 1),
            "iterations": self.iterations,
        }

    def end_iteration(self) -> None:
        """The loop is about to select."""
        held = (time.thread_time() - self._began - self._collected) * 1000
        self.longest = max(self.longest, held)
        self.iterations += 1

    def begin_iteration(self) -> None:
        """The loop has selected."""
        self._collected = 0.0
        self._began = time.thread_time()

    def on_collector(self, phase: str, _: dict[str, int]) -> None:
        """`gc.callbacks`: a pass of the garbage collector starts or stops."""
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            took = time.thread_time() - self._collecting
            self._collected += took
            self.collector = max(self.collector, took * 1000)


@contextmanager
def watched() -> Iterator[Holds]:
    """Measure the running loop within the block. Raises RuntimeError if it is not asyncio's own loop."""
    selector: Any = getattr(asyncio.get_running_loop(), "_selector", None)
    if selector is None:
        raise RuntimeError("holds are measured on asyncio's own event loop; run this without uvloop")
    holds = Holds()
    select: Callable[[float | None], list[Any]] = selector.select

    def timed(timeout: float | None = None) -> list[Any]:
        holds.end_iteration()
        try:
            return select(timeout)
        finally:
            holds.begin_iteration()

    selector.select = timed
    gc.callbacks.append(holds.on_collector)
    try:
        yield holds
        holds.end_iteration()
    finally:
        gc.callbacks.remove(holds.on_collector)
        selector.select = select
