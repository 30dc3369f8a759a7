"""Which request of one activation may run now. Pure: it is told what arrives, starts and ends, and says what may run.

The admission rule is Orleans': a request runs at once if nothing runs, if it or everything running always
interleaves, if the class is reentrant, if it and all running are read-only, or if the class's predicate lets it or
all running interleave. Waiting requests are served in order of arrival, except that one which may run overtakes
those that may not.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol


class Admitted(Protocol):
    """What the mailbox needs to know of a request."""

    read_only: bool
    always_interleave: bool
    interleaves: bool


class Mailbox:
    """Running and waiting requests of one activation."""

    __slots__ = ("_eager", "_reentrant", "running", "waiting")

    def __init__(self, reentrant: bool = False) -> None:
        self._reentrant = reentrant
        self._eager = 0  # waiting requests that may run beside anything: they queued before the grain was ready
        self.running: list[Admitted] = []
        self.waiting: deque[Admitted] | None = None

    @property
    def depth(self) -> int:
        """How many requests wait."""
        return len(self.waiting) if self.waiting else 0

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return not self.running and not self.waiting

    def may_run(self, request: Admitted) -> bool:
        """Whether this request may start now, given what runs."""
        if not self.running or self._reentrant or request.always_interleave or request.interleaves:
            return True
        blocking = [other for other in self.running if not other.always_interleave]
        if request.read_only and all(other.read_only for other in blocking):
            return True
        return all(other.interleaves for other in blocking)

    def wait(self, request: Admitted) -> None:
        """Queue a request that may not run yet."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(request)
        self._eager += _is_eager(request)

    def start(self, request: Admitted) -> None:
        """Note that a request runs."""
        self.running.append(request)

    def end(self, request: Admitted) -> None:
        """Note that a running request ended."""
        self.running.remove(request)

    def next(self) -> Admitted | None:
        """Take the first waiting request that may run now; None if there is none."""
        if not self.waiting or (
            not self._reentrant and not self._eager and any(_is_exclusive(other) for other in self.running)
        ):
            return None  # the second test keeps a long queue behind one turn from being searched at each end
        if self.may_run(self.waiting[0]):
            return self._taken(self.waiting.popleft())
        for position, request in enumerate(self.waiting):
            if self.may_run(request):
                del self.waiting[position]
                return self._taken(request)
        return None

    def drop(self, request: Admitted) -> bool:
        """Remove a request that still waits. False if it does not."""
        if self.waiting is None or request not in self.waiting:
            return False
        self.waiting.remove(request)
        self._taken(request)
        return True

    def take_all(self) -> list[Admitted]:
        """Remove and return everything that waits, in order."""
        taken = list(self.waiting or ())
        self.waiting = None
        self._eager = 0
        return taken

    def position(self, request: Admitted) -> int | None:
        """How many requests wait before this one; None if it does not wait."""
        if self.waiting is None or request not in self.waiting:
            return None
        return self.waiting.index(request)

    def _taken(self, request: Admitted) -> Admitted:
        self._eager -= _is_eager(request)
        # An idle activation must be small: the queue itself goes with its last request.
        if not self.waiting:
            self.waiting = None
        return request


def _is_eager(request: Admitted) -> bool:
    return request.always_interleave or request.interleaves


def _is_exclusive(request: Admitted) -> bool:
    return not (request.read_only or request.always_interleave or request.interleaves)
