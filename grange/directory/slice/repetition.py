"""Paces the attempts of one request to other silos: a pause after a failure, and none after a change of the cluster."""

from __future__ import annotations

import asyncio
from random import Random

from grange.aio.backoff import Backoff
from grange.directory.options import DirectoryOptions
from grange.directory.slice.current_view import CurrentView


class Repetition:
    """The attempts of one request: `begin` before each, `pause` after one that failed.

    The pauses grow, because each attempt costs another silo a message. They begin anew when the cluster has changed: a
    newer view, a range that is ready, and the end of a hold may let the next attempt succeed.
    """

    def __init__(self, current: CurrentView, options: DirectoryOptions, rng: Random) -> None:
        self._changed = current.changed
        self._options = options
        self._backoff = Backoff(options.retry_first, options.retry_limit, rng)
        self._loop = asyncio.get_running_loop()
        self.begin()

    def begin(self) -> None:
        """An attempt begins. It may not see what changes from now on."""
        self._seen = self._changed.times
        self._began = self._loop.time()

    async def pause(self, most: float, held: float | None = None) -> None:
        """Wait before the next attempt, for at most `most` seconds. `held`: seconds until the grain is held no more.

        Returns at once if the cluster has changed since the attempt began. An attempt for which the other silo has
        waited, or was waited for, is followed by the shortest pause.
        """
        options = self._options
        if self._loop.time() - self._began >= options.retry_limit:
            self._backoff.reset()
        seconds = self._backoff.pause() if held is None else max(held, options.retry_first)
        if await self._changed.wait(min(seconds, most), self._seen):
            self._backoff.reset()
