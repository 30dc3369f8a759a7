"""The gate of a silo: no turn starts while this silo may have lost its cluster.

Each turn compares the time with `until` before it starts. So the gate also closes without a call: after a suspension of
the process it is closed before the first turn. `membership/fencing/self_fence.py` closes and opens it.
`activations/invoker.py`, `activations/lifecycle.py` and `activations/catalog.py` check it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from grange.aio.portions import in_portions
from grange.aio.steady import steady_clock
from grange.proto.message import Reason
from grange.runtime.requests.refusal import Refused


class Gate:
    """The gate of one silo: open, paused (turns wait) or fenced (turns are refused and their callers try other silos).

    A turn starts only if `clock() <= until`. `clock` is monotonic, in seconds, and comparable with the loop's time. It
    is read afresh for each turn; uvloop caches its own time for a whole iteration, which would hide a suspension in the
    middle of one. `fenced` is the reason why turns are refused, or None. `until` is infinite at first: a gate that no
    code closes stays open.
    """

    __slots__ = ("_examine", "_on_fence", "_paused", "_waiting", "clock", "fenced", "until")

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.clock = clock or steady_clock()
        self.until = math.inf
        self.fenced: str | None = None
        self._paused = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._examine: Callable[[], None] = self.pause
        self._on_fence: Callable[[], None] = _nothing

    @property
    def closed(self) -> bool:
        """Whether the gate was paused or fenced. A gate that has only expired (`until` has passed) is not closed."""
        return self._paused or self.fenced is not None

    def on_expired(self, examine: Callable[[], None]) -> None:
        """Call `examine` when a turn would start after `until`: it must close the gate or `extend` the time."""
        self._examine = examine

    def on_fence(self, refuse_waiting: Callable[[], None]) -> None:
        """Call `refuse_waiting` when the gate is fenced: it must refuse the requests that wait in mailboxes."""
        self._on_fence = refuse_waiting

    def extend(self, until: float) -> None:
        """Let turns start until this time, unless the gate is closed."""
        if not self.closed:
            self.until = until

    def pause(self) -> None:
        """Make turns wait from now on."""
        self._paused = True
        self.until = -math.inf

    def fence(self, reason: str) -> None:
        """Refuse turns from now on, also those that wait at the gate. The refusals contain `reason`."""
        first = self.fenced is None
        self.fenced = reason
        self.until = -math.inf
        self._wake_all()
        if first:
            self._on_fence()

    def open(self, until: float) -> None:
        """Start the waiting turns in order, thousands of them in portions, and let turns start until this time."""
        self._paused = False
        self.fenced = None
        self.until = until
        self._wake_all()

    def refusal(self) -> Refused:
        """The refusal of a fenced silo: certainly not executed, and another silo may take the request."""
        return Refused(Reason.NOT_READY, self.fenced or "the silo has lost its cluster")

    async def passage(self) -> Refused | None:
        """Wait until a turn may start and return None, or return the refusal."""
        while self.clock() > self.until:
            if not self.closed:
                self._examine()
            elif self.fenced is not None:
                return self.refusal()
            else:
                await self._wait_for_change()
        return None

    async def _wait_for_change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _wake_all(self) -> None:
        """Wake all that wait, in portions: thousands of turns may have waited. Each asks again whether it may start."""
        waiting, self._waiting = self._waiting, deque()
        in_portions(waiting, _wake)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _nothing() -> None:
    """Do nothing: the default of `on_fence`."""
