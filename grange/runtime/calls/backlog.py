"""Keeps a silo useful under more requests than it can run: it starts few in one iteration of the event loop.

Without a bound, all requests of a frame start at once, and the iteration takes as long as all their turns. Meanwhile
the next requests age in the sockets, where no deadline is checked. So the silo would run only requests whose callers
have given up. Here they wait in the silo instead:

- Each connection has a queue of its own, and the queues take turns. One flooding peer does not delay the others.
- A queue serves the oldest first, so that no caller waits longer than the others. If the oldest has waited for a tenth
  of its time, the queue serves the newest first, which can still be answered in time. The older ones are refused when
  their time is over.
- The number of starts in one iteration follows from how long the last iterations took.

While iterations are short, a request passes at once.
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

ITERATION = 0.01
"""Seconds that one iteration of the loop should take at most while requests wait."""

FIRST_STARTS = 64
"""Requests that start in one iteration until many more turn out to take little time."""

WATCHED = FIRST_STARTS // 2
"""Requests after which iterations are watched, so that a few requests cost nothing."""

MOST_STARTS = 4096
"""Most requests that start in one iteration: the messages of a full frame."""

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

    `_begun` counts those of this iteration, or since the last that was watched; `_ran` those of the last.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._loop = asyncio.get_running_loop()
        self._queues: dict[Origin, OrderedDict[WireCall, float]] = {}  # in the order of their turns; when each came
        self._most = FIRST_STARTS
        self._begun = 0
        self._ran = 0
        self._at = 0.0
        self._watching = False

    def room(self) -> int:
        """The number of requests that may begin now without `deliver`."""
        return 0 if self._queues else self._most - self._begun

    def begin(self, number: int) -> None:
        """Count requests that began without `deliver`."""
        self._begun += number
        if self._begun >= WATCHED and not self._watching:
            self._watch()

    def deliver(self, call: WireCall) -> None:
        """Deliver the request now, or once the loop has time for it."""
        if self._begun < self._most and not self._queues:
            self.begin(1)
            self.entry.deliver(call)
            return
        if not self._watching:
            self._watch()
        call.holder = self
        queue = self._queues.get(call.origin)
        if queue is None:
            queue = self._queues[call.origin] = OrderedDict()
        queue[call] = self._loop.time()

    def status(self, call: Invocation) -> str:
        """`Holder`: the progress of a request that waits here."""
        return "waiting: the silo has more requests than it can start"

    def withdraw(self, call: Invocation) -> None:
        """`Holder`: refuse a request that waits here, because its caller has gone."""
        assert isinstance(call, WireCall)
        queue = self._queues.get(call.origin)
        if queue is not None and queue.pop(call, None) is not None:
            call.refuse(cancelled())

    def _watch(self) -> None:
        self._watching, self._ran, self._at = True, 0, self._loop.time()
        self._loop.call_soon(self._next_iteration, context=Context())

    def _next_iteration(self) -> None:
        """Called at the start of each iteration, as long as requests come or wait."""
        now = self._loop.time()
        self._adapt(now - self._at, max(self._ran, self._begun))
        self._at, self._ran, self._begun = now, self._begun, 0
        if not (self._queues or self._ran):
            self._watching = False
            return
        self._loop.call_soon(self._next_iteration, context=Context())
        drops = DROPS
        while self._queues and self._begun < self._most and drops:
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

    def _adapt(self, took: float, started: int) -> None:
        """Set the number of starts so that an iteration takes about `ITERATION`."""
        if took > ITERATION:
            self._most = max(1, min(self._most, int(started * ITERATION / took)))
        elif 4 * started < self._most:
            self._most = max(FIRST_STARTS, self._most // 2)  # unused: the next calls may take longer
        elif took < ITERATION / 2:
            self._most = min(MOST_STARTS, 2 * self._most)


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
