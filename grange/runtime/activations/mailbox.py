"""Decides which request of one activation may run now. Pure: the activation reports arrivals, starts and ends.

The admission rule is that of Orleans. A request may run now if one of these holds:

- no request runs, or the class is reentrant;
- the request always interleaves, or the class's predicate lets it interleave;
- it belongs to the call chain of a section that `allow_reentrancy` opened in a running turn, and that is still open;
- it fits every running request: one that always interleaves, one that the predicate let interleave, or, if the request
  is read-only, another read-only one.

A request that runs in a thread has no other beside it: code of one activation never runs in parallel. Nor has one of a
`@transactional` method: no other turn sees, or adds to, changes that may still be rolled back.

Waiting requests start in order of arrival, but a request that may run overtakes those that may not. One does not: a
read-only request stays behind a waiting request that is not read-only, so that a stream of readers does not starve a
writer. It must not stay if a running turn waits for it (`descends`), or the two would wait for each other.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

from grange.proto.chain import LINK, holds

MAX_COUNTED = 1000
"""Most waiting requests that are counted to find the position of one: 20 microseconds in a long queue."""


class Admitted(Protocol):
    """The properties of a request that decide whether it may run.

    chain: the turns that wait for it; onward: the chain of the calls that its turn makes; sections: the open ones.
    overtakes: it was found in a cycle with the writer before it, and no longer stays behind.
    """

    read_only: bool
    always_interleave: bool
    interleaves: bool
    overtakes: bool
    chain: bytes
    onward: bytes
    sections: tuple[bytes, ...]
    alone: bool


R = TypeVar("R", bound=Admitted)


class Mailbox(Generic[R]):
    """The running and waiting requests of one activation. It exists while it has something to decide."""

    __slots__ = ("_alone", "_exclusive", "_overtaking", "_readers", "_reentrant", "_writers", "running", "waiting")

    def __init__(self, reentrant: bool = False) -> None:
        self._reentrant = reentrant
        self._exclusive = 0  # running requests that fit none but those that interleave
        self._readers = 0  # running requests that fit readers
        self._alone = 0  # running requests that fit none
        self._writers = 0  # waiting requests that hold readers behind them
        self._overtaking: dict[R, None] = {}  # waiting requests that need not be first to start
        self.running: dict[R, None] = {}
        self.waiting: OrderedDict[R, None] | None = None  # any request is removed in constant time

    @property
    def depth(self) -> int:
        """The number of waiting requests."""
        return len(self.waiting) if self.waiting else 0

    @property
    def idle(self) -> bool:
        """Whether no request runs or waits."""
        return not self.running and not self.waiting

    def may_run(self, request: R) -> bool:
        """Whether this request, which has just arrived, may start beside the running ones."""
        if not self._fits(request):
            return False
        return not (self._writers and is_reader(request)) or self._overtakes(request)

    def blockers(self, request: R) -> list[R]:
        """The requests that must end, or start, before this waiting one starts. It waits for all of them."""
        if self._fits(request):
            return self._writers_before(request) if self.is_held_back(request) else []
        return [other for other in self.running if request.alone or other.alone or not _fit(request, other)]

    def is_held_back(self, request: R) -> bool:
        """Whether only a writer that waits, too, is in the way of this waiting request."""
        return is_reader(request) and self._fits(request) and not self._overtakes(request)

    def wait(self, request: R) -> None:
        """Queue a request that may not run yet."""
        if self.waiting is None:
            self.waiting = OrderedDict()
        self.waiting[request] = None
        self._writers += is_exclusive(request)
        if self._overtakes(request):
            self._overtaking[request] = None

    def let_overtake(self, request: R) -> None:
        """Let a waiting reader start although a writer waits before it."""
        request.overtakes = True
        self._overtaking[request] = None

    def start(self, request: R) -> None:
        """Record that a request runs."""
        self.running[request] = None
        self._exclusive += is_exclusive(request)
        self._readers += is_reader(request)
        self._alone += request.alone

    def end(self, request: R) -> None:
        """Record that a running request ended."""
        del self.running[request]
        self._exclusive -= is_exclusive(request)
        self._readers -= is_reader(request)
        self._alone -= request.alone

    def next(self) -> R | None:
        """Remove and return the first waiting request that may run now; None if there is none.

        If the first of all may not, only those that overtake may: so a long queue is not searched each time a turn
        ends.
        """
        if not self.waiting:
            return None
        first = next(iter(self.waiting))
        if self._fits(first):
            return self._taken(first)
        for request in self._overtaking:
            if self._fits(request):
                return self._taken(request)
        return None

    def drop(self, request: R) -> bool:
        """Remove a waiting request. False if it does not wait."""
        if self.waiting is None or request not in self.waiting:
            return False
        self._taken(request)
        return True

    def take_all(self) -> list[R]:
        """Remove and return all waiting requests, in order."""
        taken = list(self.waiting or ())
        self.waiting = None
        self._writers = 0
        self._overtaking.clear()
        return taken

    def position(self, request: R) -> int | None:
        """The number of requests that wait before this one, at most `MAX_COUNTED`; None if it does not wait."""
        if self.waiting is None or request not in self.waiting:
            return None
        before = enumerate(self.waiting)
        return next(position for position, other in before if other is request or position == MAX_COUNTED)

    def _fits(self, request: R) -> bool:
        """Whether the running requests let this one run."""
        if not self.running:
            return True
        if request.alone or self._alone:
            return False
        if self._reentrant or request.always_interleave or request.interleaves:
            return True
        if not self._exclusive and (request.read_only or not self._readers):
            return True
        return bool(request.chain) and any(_is_in_section(request, other) for other in self.running)

    def _overtakes(self, request: R) -> bool:
        """Whether this request need not stay behind a waiting writer."""
        if request.always_interleave or request.interleaves or request.overtakes:
            return True
        return bool(request.chain) and any(descends(request, other) for other in self.running)

    def _writers_before(self, request: R) -> list[R]:
        writers: list[R] = []
        for other in self.waiting or ():
            if other is request:
                break
            if is_exclusive(other):
                writers.append(other)
        return writers

    def _taken(self, request: R) -> R:
        assert self.waiting is not None
        del self.waiting[request]
        self._writers -= is_exclusive(request)
        self._overtaking.pop(request, None)
        # An idle activation must be small, so free the queue with its last request.
        if not self.waiting:
            self.waiting = None
        return request


def is_exclusive(request: Admitted) -> bool:
    """Whether it fits no other request but those that interleave."""
    return not (request.read_only or request.always_interleave or request.interleaves)


def is_reader(request: Admitted) -> bool:
    """Whether it fits those that interleave, and readers."""
    return request.read_only and not (request.always_interleave or request.interleaves)


def descends(request: Admitted, turn: Admitted) -> bool:
    """Whether this running turn waits for the request: it made the call, or one that led to it."""
    return holds(request.chain, turn.onward[-LINK:]) or _is_in_section(request, turn)


def _is_in_section(request: Admitted, turn: Admitted) -> bool:
    return any(holds(request.chain, section) for section in turn.sections)


def _fit(request: Admitted, other: Admitted) -> bool:
    return other.always_interleave or other.interleaves or (request.read_only and other.read_only)
