"""The current view, and its subscribers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from grange.membership.model.member import View

log = logging.getLogger("grange.membership")

Subscriber = Callable[[View], None]
"""Called in the event loop with each newer view. It must not block; its exceptions are logged."""


class Views:
    """Views in the order of their versions, each at most once, never backwards. Filled by `agent.py`."""

    def __init__(self) -> None:
        self.current = View(0)
        self._subscribers: dict[object, Subscriber] = {}
        self._next = asyncio.Event()

    def publish(self, view: View) -> bool:
        """Make this the current view and call the subscribers, if it is newer. Returns whether it was."""
        if view.version <= self.current.version:
            return False
        self.current = view
        waiters, self._next = self._next, asyncio.Event()
        for subscriber in tuple(self._subscribers.values()):
            try:
                subscriber(view)
            except Exception:
                log.exception("a subscriber of membership views failed at version %d", view.version)
        waiters.set()
        return True

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Have `subscriber` called with each newer view. Returns the function that ends this; it is idempotent."""
        key = object()
        self._subscribers[key] = subscriber

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe

    async def changed(self) -> View:
        """Wait for a newer view than the current one, and return the newest."""
        await self._next.wait()
        return self.current

    async def wait_for(self, predicate: Callable[[View], bool]) -> View:
        """Wait until the current view satisfies the predicate, and return it. Returns at once if it does already."""
        while not predicate(self.current):
            await self.changed()
        return self.current
