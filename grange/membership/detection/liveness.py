"""The liveness of one silo: by how much its event loop is late, and the last contact by each prober.

The event loop and the probe thread write and read it, so every method may be called from any thread. The self-fence
decides from it whether this silo may start turns. The answer to a probe is made from it, also while the loop is
blocked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from grange.proto.ids import SiloAddress

TICK = 0.25
"""Seconds between two ticks of the event loop's watchdog: small compared with `pause_gap` (1 s by default)."""

MAX_PROBERS = 64
"""Probers remembered at most, the most recent ones. Only a handful probe one silo at a time."""


class Liveness:
    """Thread-safe facts of one silo. `clock` gives monotonic seconds and must advance while the loop is blocked.

    `version` is the version of this silo's view and `score` its local health score; the event loop sets them and the
    probe thread reads them. `newest` is the highest version that any prober has seen. `interval` is the probers' probe
    interval in seconds.
    """

    def __init__(self, clock: Callable[[], float], interval: float = 1.0) -> None:
        self._clock = clock
        self._interval = interval
        self._lock = threading.Lock()
        self._ticked: float | None = None
        self._received: dict[SiloAddress, float] = {}
        self._contacts: dict[SiloAddress, float] = {}
        self.version = 0
        self.score = 0
        self.newest = 0

    def tick(self) -> None:
        """Note that the event loop runs. Called by its watchdog every `TICK` seconds."""
        self._ticked = self._clock()

    @property
    def ticked(self) -> float | None:
        """Clock time of the last tick; None before the first one and after `stop`."""
        return self._ticked

    def stop(self) -> None:
        """Stop measuring the lag of the event loop; `lag` answers 0 from now on."""
        self._ticked = None

    def lag(self) -> float:
        """Seconds that the event loop is behind; 0 before its first tick and after `stop`."""
        ticked = self._ticked
        return 0.0 if ticked is None else max(0.0, self._clock() - ticked - TICK)

    def probe_received(self, prober: SiloAddress, mutual: bool, version: int = 0) -> None:
        """Note a probe. `mutual`: the prober has the answer to its previous probe. `version`: of the prober's view.

        A mutual probe proves contact, but not as of now: it may have waited in a queue while this process was stopped.
        It was sent at least one interval after the probe before it, so it proves contact as of that time.
        """
        now = self._clock()
        with self._lock:
            self.newest = max(self.newest, version)
            before = self._received.pop(prober, None)
            self._received[prober] = now
            if mutual and before is not None:
                proven = min(now, before + self._interval)
                self._contacts[prober] = max(proven, self._contacts.pop(prober, proven))
            while len(self._received) > MAX_PROBERS:
                oldest = next(iter(self._received))
                del self._received[oldest]
                self._contacts.pop(oldest, None)

    def contacts(self) -> dict[SiloAddress, float]:
        """Clock time of the last proof of contact by each prober."""
        with self._lock:
            return dict(self._contacts)
