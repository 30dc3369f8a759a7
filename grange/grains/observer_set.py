"""`ObserverSet`: the observers that a grain notifies, with expiry and removal of those that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator
from typing import Any, Generic, cast

import msgspec
from typing_extensions import TypeVar

from grange.errors import Overloaded
from grange.grains.observer import GrainObserver
from grange.grains.options import MAX_SECONDS, is_seconds
from grange.grains.ref import Reference

O = TypeVar("O", bound=GrainObserver)  # noqa: E741

MOST_OBSERVERS = 10_000
"""The default of `ObserverSet(limit=)`: observers come from callers, which must not fill the memory of a silo."""


class _Entry(msgspec.Struct, Generic[O]):
    """One observer, and the loop time at which it subscribed last."""

    observer: O
    seen: float


class ObserverSet(Generic[O]):
    """The observers of one activation: a set in memory, bounded, whose members subscribe again from time to time.

    An observer that has not subscribed for `duration` seconds is not notified and is removed. So is one whose call
    fails, because its client is gone, the call timed out, or it raised an error; but not one that is overloaded.
    To keep observers beyond an activation, store their references in the state, and subscribe them in `on_activate`.
    Changing `duration` applies to all members.
    """

    def __init__(self, duration: float = 300.0, *, limit: int = MOST_OBSERVERS) -> None:
        if limit < 1:
            raise ValueError(f"limit={limit!r} must be 1 or more")
        self.duration = duration
        self._limit = limit
        self._entries: dict[Hashable, _Entry[O]] = {}

    @property
    def duration(self) -> float:
        """Seconds after its last `subscribe` at which an observer expires."""
        return self._duration

    @duration.setter
    def duration(self, seconds: float) -> None:
        if not is_seconds(seconds):
            raise ValueError(f"duration={seconds!r} must be a positive number of seconds, at most {MAX_SECONDS:.0f}")
        self._duration = seconds

    def subscribe(self, observer: O, *, key: Hashable = None) -> None:
        """Add an observer, or note that it is still interested. `key`: another identity than the observer's own.

        A second observer of one key replaces the first. Raises TypeError for anything but a reference to an observer,
        and OverflowError if the set is full.
        """
        if not (
            isinstance(cast("object", observer), Reference) and isinstance(cast("object", observer), GrainObserver)
        ):
            raise TypeError(f"subscribe takes a reference to an observer, not {observer!r:.100}")
        identity = observer if key is None else key
        if identity not in self._entries and len(self._entries) >= self._limit:
            self.clear_expired()
            if len(self._entries) >= self._limit:
                raise OverflowError(f"{self._limit:,} observers have subscribed already; raise limit=")
        self._entries[identity] = _Entry(observer, _now())

    def unsubscribe(self, observer: O | None = None, *, key: Hashable = None) -> bool:
        """Remove an observer, or the one of this key. Returns whether it was a member."""
        return self._entries.pop(observer if key is None else key, None) is not None

    def clear(self) -> None:
        """Remove all observers."""
        self._entries.clear()

    def clear_expired(self) -> int:
        """Remove the observers that have expired. Returns their number."""
        expired = [key for key, entry in self._entries.items() if _now() - entry.seen > self._duration]
        for key in expired:
            del self._entries[key]
        return len(expired)

    async def notify(
        self, call: Callable[[O], Awaitable[Any]], where: Callable[[O], bool] | None = None
    ) -> dict[O, Exception]:
        """Make this call to each observer, or each for which `where` is true, at once; wait for all their answers.

        Returns the observers that failed, each with its error. They are removed, except those that were overloaded and
        those that subscribed again meanwhile. An error of `call` itself, such as the name of a method that the
        observers do not have, is raised and removes none. Raises TypeError if it returns no call.
        """
        self.clear_expired()
        chosen = [(key, each) for key, each in self._entries.items() if where is None or where(each.observer)]
        calls = _calls(call, [entry.observer for _, entry in chosen])
        errors = await asyncio.gather(*(_attempt(each) for each in calls))
        failed: dict[O, Exception] = {}
        for (key, entry), error in zip(chosen, errors, strict=True):
            if error is None:
                continue
            failed[entry.observer] = error
            if not isinstance(error, Overloaded) and self._entries.get(key) is entry:
                del self._entries[key]
        return failed

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[O]:
        """The observers that have not expired, in the order of their first `subscribe`."""
        now = _now()
        return iter([each.observer for each in self._entries.values() if now - each.seen <= self._duration])

    def __contains__(self, key: object) -> bool:
        """Whether an observer, or a key, is a member that has not expired."""
        entry = self._entries.get(key)
        return entry is not None and _now() - entry.seen <= self._duration


def _calls(call: Callable[[O], Awaitable[Any]], observers: list[O]) -> list[Awaitable[Any]]:
    """One call to each observer, not begun. An error is that of the grain's code: no observer has failed."""
    calls: list[Awaitable[Any]] = []
    try:
        for observer in observers:
            made = call(observer)
            if not isinstance(cast("object", made), Awaitable):
                raise TypeError(
                    f"notify takes a function that returns a call, not {made!r:.100}: lambda x: x.show(text)"
                )
            calls.append(made)
    except BaseException:
        for each in calls:
            if isinstance(each, Coroutine):
                each.close()
        raise
    return calls


async def _attempt(call: Awaitable[Any]) -> Exception | None:
    try:
        await call
    except Exception as error:
        return error.with_traceback(None)  # else the error and this frame form a cycle
    return None


def _now() -> float:
    return asyncio.get_running_loop().time()
