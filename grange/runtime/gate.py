"""The one place that holds up turns: no turn starts while this silo may have lost its cluster.

Every turn compares the time with `until`, so the gate also closes without a call: a process that was suspended finds it
closed before its first turn. `membership/fencing/self_fence.py` closes and opens it. `invoker.py`, `lifecycle.py` and
`catalog.py` in `activations/` ask it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

from grange.proto.message import Reason
from grange.runtime.requests.refusal import Refused


class Gate:
    """The gate of one silo: open, paused (turns wait) or fenced (turns are refused, to be repeated elsewhere).

    A turn starts only if `clock() <= until`. `clock` is monotonic, in seconds, and comparable with the loop's time, but
    not kept for a whole round of the loop as uvloop keeps its own: a stop in the middle of a round must show. `fenced`
    says why turns are refused; None: they are not. Without a guard the gate is open for ever.
    """

    __slots__ = ("_examine", "_on_fence", "_paused", "_waiting", "clock", "fenced", "until")

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.clock = clock or _steady_clock()
        self.until = math.inf
        self.fenced: str | None = None
        self._paused = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._examine: Callable[[], None] = self.pause
        self._on_fence: Callable[[], None] = _nothing

    @property
    def closed(self) -> bool:
        """Whether turns wait or are refused."""
        return self._paused or self.fenced is not None

    def guarded_by(self, examine: Callable[[], None]) -> None:
        """Have `examine` called when `until` is over: it must close the gate, or `extend` the time."""
        self._examine = examine

    def on_fence(self, refuse_waiting: Callable[[], None]) -> None:
        """Have this called when turns are refused from now on: what waits elsewhere than here must be refused too."""
        self._on_fence = refuse_waiting

    def extend(self, until: float) -> None:
        """Turns may start until then, unless the gate is closed."""
        if not self.closed:
            self.until = until

    def pause(self) -> None:
        """From now on turns wait."""
        self._paused = True
        self.until = -math.inf

    def fence(self, why: str) -> None:
        """From now on turns are refused, those that wait too."""
        first = self.fenced is None
        self.fenced = why
        self.until = -math.inf
        self._wake()
        if first:
            self._on_fence()

    def open(self, until: float) -> None:
        """Start what waits, in order. Turns may start until then."""
        self._paused = False
        self.fenced = None
        self.until = until
        self._wake()

    def refusal(self) -> Refused:
        """What a request gets that comes to a fenced silo: certainly not executed, worth repeating elsewhere."""
        return Refused(Reason.NOT_READY, self.fenced or "the silo has lost its cluster")

    async def passage(self) -> Refused | None:
        """Wait until a turn may start, and return None; or return why it must not."""
        while self.clock() > self.until:
            if not self.closed:
                self._examine()
            elif self.fenced is not None:
                return self.refusal()
            else:
                await self._queue()
        return None

    async def _queue(self) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        await place

    def _wake(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)


def _steady_clock() -> Callable[[], float]:
    """The running loop's time, or what it is made from if the loop keeps its time for a whole round."""
    loop = asyncio.get_running_loop()
    return time.monotonic if type(loop).__module__.startswith("uvloop") else loop.time


def _nothing() -> None:
    """Nothing waits elsewhere."""
