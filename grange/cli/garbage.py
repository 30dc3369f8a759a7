"""Sets Python's garbage collector for a process that is one silo and nothing else. `grange run` calls it.

A full pass looks at every container object of the process, and the event loop stands still meanwhile: about a second
with a million activations. So the objects that survive a long pass are exempt from the next ones. Reference counting
still frees them; only cycles among them stay, until a pass over all objects. That pass comes when as much was exempted
as the last one looked at, and at most once in `WHOLE_PERIOD`: a silo whose activations stay needs none.

In a process that merely contains a silo, the settings belong to the application.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

THRESHOLDS = (5_000, 5, 20)
"""Look at new objects after 5,000, at those that survived after 25,000 (about 10 ms), at all after 500,000 at least.
"""

LONG_PASS = 0.02
"""Seconds; the survivors of a full pass that took longer are exempt from the next ones."""

WHOLE_PERIOD = 600.0
"""Seconds; the least time between two passes over all objects, which may take a second each in a large silo."""


def settle(before: tuple[int, int, int]) -> None:
    """Exempt all present objects from collections, and collect less often from now on.

    `before` are the thresholds from before the application's module was imported. Does nothing if the module has set
    others, or has switched the collector off.
    """
    if gc.isenabled() and gc.get_threshold() == before:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(Pacing())


class Pacing:
    """Keeps full passes short. An entry of `gc.callbacks`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = 0.0
        self._exempted = 0.0  # seconds that passes took whose survivors are exempt
        self._whole = False  # whether the pass that runs looks at all objects
        self._whole_took = 0.0
        self._whole_at = clock()

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """A pass starts or stops."""
        if info["generation"] < 2:
            return
        if phase == "start":
            self._start()
        else:
            self._stop(self._clock() - self._began)

    def _start(self) -> None:
        self._began = self._clock()
        due = self._began - self._whole_at >= WHOLE_PERIOD
        self._whole = due and self._exempted > self._whole_took
        if self._whole:
            gc.unfreeze()
            self._whole_at, self._exempted = self._began, 0.0

    def _stop(self, took: float) -> None:
        if self._whole:
            self._whole_took = took
        if took >= LONG_PASS:
            gc.freeze()
            if not self._whole:
                self._exempted += took
