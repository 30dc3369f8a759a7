"""Limits how often lines of one kind are logged, and counts those left out. Pure."""

from __future__ import annotations

from collections.abc import Hashable

LINES = 10
"""Most lines of one key in `PERIOD`."""

PERIOD = 60.0
"""Seconds, counted from the first line of a key."""

MAX_KEYS = 1000
"""Most keys that are told apart. Further ones share one limit until others have ended their periods."""

_OTHERS = object()


class _Window:
    """One period of one key: its start, the lines let through, and those left out."""

    __slots__ = ("began", "lines", "suppressed")

    def __init__(self, began: float) -> None:
        self.began = began
        self.lines = 0
        self.suppressed = 0


class RateLimit:
    """Lets at most `lines` lines of each key through in a period. `suppressed` counts the lines left out, of all keys.

    The last line of a period says that the next ones are left out, and the first line after it says how many were.
    """

    def __init__(self, lines: int = LINES, period: float = PERIOD) -> None:
        self._lines = lines
        self._period = period
        self._windows: dict[Hashable, _Window] = {}
        self.suppressed = 0

    def suffix(self, key: Hashable, now: float) -> str | None:
        """The end of the next line of this key, mostly empty; None: the line is left out. `now` is in seconds."""
        window = self._windows.get(key)
        left_out = 0
        if window is None or now - window.began >= self._period:
            left_out = 0 if window is None else window.suppressed
            window = self._open(key, now)
        if window.lines >= self._lines:
            window.suppressed += 1
            self.suppressed += 1
            return None
        window.lines += 1
        seconds = window.began + self._period - now
        after = f" (further ones are suppressed for {seconds:.0f} s)" if window.lines == self._lines else ""
        return (f" ({left_out} suppressed)" if left_out else "") + after

    def _open(self, key: Hashable, now: float) -> _Window:
        """Begin a period for a key."""
        if key not in self._windows and len(self._windows) >= MAX_KEYS:
            windows = list(self._windows.items())  # at once: the log lines of other threads are limited here, too
            ended = [each for each, window in windows if now - window.began >= self._period]
            for each in ended:
                self._windows.pop(each, None)
            if not ended:
                key = _OTHERS
                if key in self._windows and now - self._windows[key].began < self._period:
                    return self._windows[key]
        self._windows[key] = window = _Window(now)
        return window
