"""The signs of life of one silo: how far its event loop is behind, and who has been in contact with it, when.

Written by the event loop and by the probe thread, read by both: every method may be called from any thread.
`fencing/proofs.py` decides from it whether this silo may start turns; the answer to a probe is made from it, also
while the loop is blocked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from grange.proto.ids import SiloAddress

TICK = 0.25
"""Seconds between two ticks of the event loop's watchdog: small beside the 1 s that is called a pause."""

KEPT = 64
"""Probers remembered at most; a handful probe one silo at a time, and generations that are gone are forgotten first."""


class Liveness:
    """Thread-safe facts of one silo. `clock` gives monotonic seconds and must go on while the loop is blocked.

    `version` is the version of this silo's view, `score` its local health score and `fenced` whether it starts no
    turns; the event loop sets them and the probe thread reads them. `newest` is the highest version that any prober
    said it has seen. `interval` is the probers' probe interval in seconds.
    """

    def __init__(self, clock: Callable[[], float], interval: float = 1.0) -> None:
        self._clock = clock
        self._interval = interval
        self._lock = threading.Lock()
        self._ticked: float | None = None
        self._read = clock()
        self._heard: dict[SiloAddress, float] = {}
        self._contacts: dict[SiloAddress, float] = {}
        self.version = 0
        self.score = 0
        self.fenced = False
        self.newest = 0

    def tick(self) -> None:
        """The event loop runs. Called by its watchdog every `TICK` seconds."""
        self._ticked = self._clock()

    def end(self) -> None:
        """Nobody ticks any more: that the event loop is not seen to run says nothing about it from now on."""
        self._ticked = None

    def lag(self) -> float:
        """Seconds that the event loop is behind; 0 before its first tick and after the end."""
        ticked = self._ticked
        return 0.0 if ticked is None else max(0.0, self._clock() - ticked - TICK)

    def heard(self, prober: SiloAddress, mutual: bool, version: int = 0) -> None:
        """A probe has come. `mutual`: the prober had got our answer to its previous one. `version`: of its view.

        A mutual probe proves contact, but not as of now: it may have lain in a queue while this process was stopped.
        It was sent no sooner than one interval after the one before it, so that is the time it proves.
        """
        now = self._clock()
        with self._lock:
            self.newest = max(self.newest, version)
            before = self._heard.pop(prober, None)
            self._heard[prober] = now
            if mutual and before is not None:
                proven = min(now, before + self._interval)
                self._contacts[prober] = max(proven, self._contacts.pop(prober, proven))
            while len(self._heard) > KEPT:
                oldest = next(iter(self._heard))
                del self._heard[oldest]
                self._contacts.pop(oldest, None)

    def table_read(self, began: float | None = None) -> None:
        """The table was read and shows this silo as one that may work. `began`: when the read began; None: now."""
        began = self._clock() if began is None else began
        with self._lock:
            self._read = max(self._read, began)

    def last_contact(self) -> float:
        """Clock time of the last proof that the cluster counts on this silo; at first, of its start."""
        with self._lock:
            return max(self._read, *self._contacts.values()) if self._contacts else self._read

    def contacts(self) -> dict[SiloAddress, float]:
        """Clock time of the last proof of contact by each prober."""
        with self._lock:
            return dict(self._contacts)

    def last_read(self) -> float:
        """Clock time at which the last good read of the table began; at first, of this silo's start."""
        return self._read
