"""Keeps a silo useful under more requests than it can run: turns that start take part of the loop's time, not all.

Without a bound, all requests of a frame start at once, and the iteration of the loop takes as long as all their turns.
Meanwhile the next requests age in the sockets, where no deadline is checked. So the silo would run only requests whose
callers have given up. Here they wait in the silo instead:

- Starts take at most `BUDGET` of an iteration, or `LONG_BUDGET` while they are short. The next iterations only read,
  until no more comes or `READ_BUDGET` has passed. Then the others start.
- Each connection has a queue of its own, and the queues take turns. One flooding peer does not delay the others.
- A queue serves the oldest first, so that no caller waits longer than the others. If the oldest has waited for a tenth
  of its time, the queue serves the newest first, which can still be answered in time. The older ones are refused when
  their time is over.

While the starts of an iteration take less, a request passes at once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import Context
from typing import Protocol

from grange.proto.ids import GrainId
from grange.runtime.activations.catalog import Target
from grange.runtime.calls.wire_call import Origin, WireCall
from grange.runtime.requests.invocation import Invocation, cancelled, expired

BUDGET = 1 / 256
"""Seconds of one iteration of the loop that starts may take. Turns run up to their first wait when they start."""

LONG_BUDGET = 1 / 64
"""The budget while starts are short: a frame of a thousand short requests then starts whole, and its answers leave in
few frames."""

READ_BUDGET = 1 / 512
"""Seconds that may pass between the starts of two iterations, while the loop reads frames. It reads one frame of a
connection in about three iterations. With starts in each of them, requests of a busy silo aged in its sockets, where
no deadline is checked: those that it then chose as the newest had been given up by their callers."""

SILENCE = 4
"""Iterations in a row that read no request, after which nothing waits to be read."""

SHORT_START = 1 / 16384
"""Seconds; starts are short if they take less than this on average, their share of reading included."""

EVERY = 8
"""Starts between two readings of the clock, so that a short turn pays little for the budget."""

MOST_STARTS = 1024
"""Most waiting requests that start in one iteration. Their turns may begin to work only later, if they wait first."""

WAITED_SHARE = 0.1
"""Share (0 to 1) of its time after which the oldest request of a queue has waited long: then the newest come first. A
shorter wait is no overload: thousands of callers that repeat their calls wait so long, and all are served in turn."""

LONG_WAIT = 3.0
"""Seconds after which any request has waited long: the share of the default time-out."""

DROPS = 1000
"""Most requests refused in one iteration because their time is over: a refusal takes a few microseconds."""


class Entry(Protocol):
    """Takes the requests for grains: the catalog, or a gateway before it."""

    def direct(self) -> Mapping[GrainId, Target]:
        """The grains here by id, if turns may start without `deliver`: an empty mapping while requests are refused."""
        ...

    def deliver(self, call: WireCall) -> None:
        """Hand a request to its grain, here or elsewhere. An error becomes its outcome."""
        ...


class Backlog:
    """The requests of one listener that wait until the loop has time for them. `entry` takes those that begin.

    The budget counts from `_since`: the start of this iteration, once iterations are watched. `_spent`: it is used up.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._loop = asyncio.get_running_loop()
        self._queues: dict[Origin, OrderedDict[WireCall, float]] = {}  # in the order of their turns; when each came
        self._unchecked = 0  # starts since the clock was read
        self._begun = 0  # starts that were checked in this iteration
        self._since = 0.0
        self._spent = False
        self._watching = False
        self._ended = 0.0  # loop time of the last starts
        self._arrived = False  # a request was queued since the last iteration
        self._silence = SILENCE  # iterations that may still pass without one until the next starts

    def room(self) -> int:
        """The number of requests that may begin now without `deliver`, before the next `begin`."""
        return 0 if self._queues or self._spent else EVERY - self._unchecked

    def begin(self, number: int) -> None:
        """Count requests that began, at most those of `room`."""
        self._unchecked += number
        if self._unchecked >= EVERY:
            self._unchecked = 0
            self._check()

    def deliver(self, call: WireCall) -> None:
        """Deliver the request now, or once the loop has time for it."""
        if not (self._queues or self._spent):
            self.entry.deliver(call)
            self.begin(1)
            return
        call.holder = self
        queue = self._queues.get(call.origin)
        if queue is None:
            queue = self._queues[call.origin] = OrderedDict()
        queue[call] = self._loop.time()
        self._arrived = True

    def status(self, call: Invocation) -> str:
        """`Holder`: the progress of a request that waits here."""
        return "waiting: the silo has more requests than it can start"

    def withdraw(self, call: Invocation, interrupt: bool) -> None:
        """`Holder`: refuse a request that waits here, because its caller has gone."""
        assert isinstance(call, WireCall)
        queue = self._queues.get(call.origin)
        if queue is not None and queue.pop(call, None) is not None:
            call.refuse(cancelled())

    def _check(self) -> None:
        """Compare the time that the starts of this iteration have taken with the budget."""
        now = self._loop.time()
        self._begun += EVERY
        if self._watching:
            self._ended = now
            self._spent = self._is_spent(now - self._since)
        else:
            self._watching, self._since = True, now
            self._loop.call_soon(self._next_iteration, context=Context())

    def _next_iteration(self) -> None:
        """Start requests that wait. Called in each iteration from a check on, until one passes without a check."""
        if not (self._queues or self._begun):
            self._watching = self._spent = False
            return
        self._loop.call_soon(self._next_iteration, context=Context())
        now = self._loop.time()
        if self._spent and self._queues and self._reads_on(now):
            return
        self._begun, self._since, self._silence = 0, now, SILENCE
        drops = DROPS
        for _ in range(MOST_STARTS):
            if not (self._queues and drops) or self._is_spent(self._loop.time() - now):
                break
            origin, queue = next(iter(self._queues.items()))
            drops = _refuse_expired(queue, now, drops)
            call = _take(queue, now)
            # Only now: a refusal may end a connection, or release requests that are held, and change the queue.
            del self._queues[origin]
            if queue:
                self._queues[origin] = queue  # behind the others
            if call is not None:
                self._begun += 1
                self.entry.deliver(call)
        self._ended = self._loop.time()
        self._spent = self._is_spent(self._ended - now)

    def _reads_on(self, now: float) -> bool:
        """Whether requests may still wait to be read, so that the starts of this iteration wait."""
        self._silence = SILENCE if self._arrived else self._silence - 1
        self._arrived = False
        return self._silence > 0 and now - self._ended < READ_BUDGET

    def _is_spent(self, seconds: float) -> bool:
        """Whether starts have taken their part of this iteration, of which `seconds` have passed."""
        return seconds >= (LONG_BUDGET if seconds < self._begun * SHORT_START else BUDGET)


def _refuse_expired(queue: OrderedDict[WireCall, float], now: float, most: int) -> int:
    """Refuse the oldest requests whose time is over, at most `most`. Returns how many more may be refused."""
    while most and queue and (refused := expired(oldest := next(iter(queue)), now)) is not None:
        del queue[oldest]
        oldest.refuse(refused)
        most -= 1
    return most


def _take(queue: OrderedDict[WireCall, float], now: float) -> WireCall | None:
    """Remove the request to start. None: the queue is empty."""
    if not queue:
        return None
    oldest, arrived = next(iter(queue.items()))
    return queue.popitem(last=now - arrived > min(WAITED_SHARE * (oldest.deadline - arrived), LONG_WAIT))[0]
