"""Decides which request of one activation may run now. Pure: the activation reports arrivals, starts and ends.

The admission rule is that of Orleans. A request may run now if one of these holds:

- no request runs, or the class is reentrant;
- the request always interleaves, or the class's predicate lets it interleave;
- every running request always interleaves, or the predicate let it interleave;
- the request is read-only, and so is every running request that does not always interleave.

A request that runs in a thread has no other beside it: code of one activation never runs in parallel.

Waiting requests start in order of arrival, but a request that may run overtakes those that may not.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

MAX_COUNTED = 1000
"""Most waiting requests that are counted to find the position of one: 20 microseconds in a long queue."""


class Admitted(Protocol):
    """The properties of a request that decide whether it may run."""

    read_only: bool
    always_interleave: bool
    interleaves: bool
    in_thread: bool


R = TypeVar("R", bound=Admitted)


class Mailbox(Generic[R]):
    """The running and waiting requests of one activation. It exists while it has something to decide."""

    __slots__ = ("_interleaving", "_reentrant", "running", "waiting")

    def __init__(self, reentrant: bool = False) -> None:
        self._reentrant = reentrant
        self._interleaving = 0  # number of waiting requests that may run beside any turn; they arrived while activating
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
        """Whether this request may start beside the running ones."""
        if not self.running:
            return True
        if request.in_thread or any(other.in_thread for other in self.running):
            return False
        if self._reentrant or request.always_interleave or request.interleaves:
            return True
        blocking = [other for other in self.running if not other.always_interleave]
        if request.read_only and all(other.read_only for other in blocking):
            return True
        return all(other.interleaves for other in blocking)

    def wait(self, request: R) -> None:
        """Queue a request that may not run yet."""
        if self.waiting is None:
            self.waiting = OrderedDict()
        self.waiting[request] = None
        self._interleaving += _interleaves(request)

    def start(self, request: R) -> None:
        """Record that a request runs."""
        self.running[request] = None

    def end(self, request: R) -> None:
        """Record that a running request ended."""
        del self.running[request]

    def next(self) -> R | None:
        """Remove and return the first waiting request that may run now; None if there is none."""
        if not self.waiting or (
            not self._reentrant and not self._interleaving and any(_is_exclusive(other) for other in self.running)
        ):
            return None  # the second test avoids a search of a long queue each time a turn ends
        for request in self.waiting:
            if self.may_run(request):
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
        self._interleaving = 0
        return taken

    def position(self, request: R) -> int | None:
        """The number of requests that wait before this one, at most `MAX_COUNTED`; None if it does not wait."""
        if self.waiting is None or request not in self.waiting:
            return None
        before = enumerate(self.waiting)
        return next(position for position, other in before if other is request or position == MAX_COUNTED)

    def _taken(self, request: R) -> R:
        assert self.waiting is not None
        del self.waiting[request]
        self._interleaving -= _interleaves(request)
        # An idle activation must be small, so free the queue with its last request.
        if not self.waiting:
            self.waiting = None
        return request


def _interleaves(request: Admitted) -> bool:
    return request.always_interleave or request.interleaves


def _is_exclusive(request: Admitted) -> bool:
    return not (request.read_only or request.always_interleave or request.interleaves)
