"""What each identity may take of this silo as a client: connections, requests a second, bytes a second. Pure.

An identity is the subject of a connection; without one it is the address of the peer. All connections of an identity
share its allowance. Silos have none: their requests are parts of calls that were admitted already.

The rates are token buckets that hold one second's worth. A request may take a bucket below zero, so that a single large
one is possible; the next one waits until it is above zero again.
"""

from __future__ import annotations

from collections.abc import Callable

from grange.errors import HandshakeRefused
from grange.runtime.options import RuntimeOptions

RETRY_AFTER = 5.0
"""Seconds after which an identity with too many connections may try again: its other processes have to end first."""

RESERVE = 1.0
"""Seconds' worth of a rate by which questions to the silo itself may exceed it: a client must still see the cluster."""

MOST_KEPT = 1000
"""Allowances of identities without a connection that are kept while they are used up; the oldest are dropped."""


class Bucket:
    """One rate in units a second. `level` is what may be taken now."""

    __slots__ = ("_at", "level", "rate")

    def __init__(self, rate: int, now: float) -> None:
        self.rate = rate
        self.level = float(rate)
        self._at = now

    def refill(self, now: float) -> None:
        """Add what has come since the last time."""
        self.level = min(self.rate, self.level + (now - self._at) * self.rate)
        self._at = now

    def wait(self, reserve: float) -> float:
        """Seconds until something may be taken; 0: now. `reserve`: the seconds' worth by which it may be exceeded."""
        missing = -self.level - reserve * self.rate
        return 0.0 if missing < 0 else max(0.001, missing / self.rate)


class Allowance:
    """What one identity may take. `name` is the identity; None in place of an allowance: nothing is limited.

    `renewing`: those of its connections that the silo has asked it to replace. Others may be opened in their place.
    """

    __slots__ = ("_buckets", "_bytes", "_requests", "connections", "name", "renewing")

    def __init__(self, name: str, requests: int, size: int, now: float) -> None:
        self.name = name
        self.connections = self.renewing = 0
        self._requests = Bucket(requests, now) if requests else None
        self._bytes = Bucket(size, now) if size else None
        self._buckets = [each for each in (self._requests, self._bytes) if each is not None]

    @property
    def has_rates(self) -> bool:
        """Whether requests are limited, and not connections alone."""
        return bool(self._buckets)

    def refill(self, now: float) -> bool:
        """Add what has come since the last time (`now`: loop time). Returns whether all is there."""
        for bucket in self._buckets:
            bucket.refill(now)
        return all(bucket.level >= bucket.rate for bucket in self._buckets)

    def room(self, most: tuple[int, int]) -> tuple[int, int]:
        """The number of requests that may be taken, and their bytes apart from those of the last; at most `most`."""
        requests, size = most
        if self._requests is not None:
            requests = min(requests, int(self._requests.level))
        if self._bytes is not None:
            size = min(size, int(self._bytes.level))
        return requests, size

    def take(self, requests: int, size: int) -> None:
        """Count requests of this size in total."""
        if self._requests is not None:
            self._requests.level -= requests
        if self._bytes is not None:
            self._bytes.level -= size

    def wait(self, reserve: float = 0.0) -> float:
        """Seconds until a request may be taken; 0: now."""
        return max((bucket.wait(reserve) for bucket in self._buckets), default=0.0)


class Allowances:
    """The allowances of all identities in one silo. `on_refused` is told of a reason and an identity."""

    def __init__(self, options: RuntimeOptions) -> None:
        self.on_refused: Callable[[str, str], None] = _ignore
        self._most = options.identity_connections
        self._requests = options.identity_requests
        self._bytes = options.identity_bytes
        self._of: dict[str, Allowance] = {}
        self._left: dict[str, Allowance] = {}  # of identities without a connection, those that left first come first

    def join(self, name: str, now: float) -> Allowance:
        """Count a connection of an identity. Raises HandshakeRefused if it has too many."""
        allowance = self._of.get(name) or self._left.pop(name, None)
        if allowance is None:
            allowance = Allowance(name, self._requests, self._bytes, now)
        if allowance.connections - allowance.renewing >= self._most:
            self.on_refused("identity-connections", name)
            raise HandshakeRefused(
                f"{name or 'this client'} has {allowance.connections:,} connections to this silo, the most that "
                f"identity_connections allows; try again in {RETRY_AFTER:g} s",
                "too-many",
                RETRY_AFTER,
            )
        allowance.connections += 1
        self._of[name] = allowance
        return allowance

    def over_rate(self, allowance: Allowance) -> str:
        """Report that an identity sends too much. Returns the text of the refusal."""
        self.on_refused("over-rate", allowance.name)
        return f"{allowance.name or 'this client'} sends more a second than identity_requests or identity_bytes allows"

    def leave(self, allowance: Allowance | None, now: float, *, renewing: bool = False) -> None:
        """A connection has ended. What its identity has used up is remembered, so that a new one begins there.

        `renewing`: it was counted in `Allowance.renewing`.
        """
        if allowance is None:
            return
        allowance.connections -= 1
        allowance.renewing -= renewing
        if allowance.connections:
            return
        self._of.pop(allowance.name, None)
        if not allowance.refill(now):
            self._left[allowance.name] = allowance
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Drop the allowances that are full again, in the order of their ends, and the oldest if there are too many."""
        while self._left:
            name, oldest = next(iter(self._left.items()))
            if not oldest.refill(now) and len(self._left) <= MOST_KEPT:
                return
            del self._left[name]


def _ignore(_reason: str, _name: str) -> None:
    """Report nothing."""
