"""Levels of loggers that an operator set for a while. They return by themselves, and with the end of the silo."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from types import MappingProxyType

from grange.observability.log_context import AUDIT

LONGEST = 86_400.0
"""Seconds; a level that is wanted for longer belongs into the configuration."""

MOST = 50
"""Loggers whose level is set at one time."""

_NAMES: Mapping[str, int] = MappingProxyType({
    "DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR,
})  # fmt: skip


def level_named(name: str) -> int:
    """The number of a level. Raises ValueError for a name that no level has."""
    if name not in _NAMES:
        raise ValueError(f"a level is one of {', '.join(_NAMES)}, not {name!r:.50}")
    return _NAMES[name]


class LogLevels:
    """The levels that differ from their configuration, each with the level before and the timer that restores it."""

    def __init__(self) -> None:
        self._changed: dict[str, tuple[int, asyncio.TimerHandle]] = {}

    def current(self, name: str) -> str:
        """The level of a logger in force. Raises ValueError if no code has made this logger."""
        return logging.getLevelName(_logger(name).getEffectiveLevel())

    def check(self, name: str, level: int, seconds: float) -> None:
        """Raise ValueError for a logger, level or time that `set` would refuse now."""
        logger = _logger(name)
        if not (math.isfinite(seconds) and 0 < seconds <= LONGEST):
            raise ValueError(f"the seconds must be above 0 and at most {LONGEST:g}")
        if level > logging.INFO and self._decides_on_audit(logger):
            raise ValueError("the audit is not silenced; name a logger below, such as grange.runtime")
        if len(self._changed.keys() - {name}) >= MOST:
            raise ValueError(f"{MOST} loggers have another level already; wait until one has its own again")

    def set(self, name: str, level: int, seconds: float) -> None:
        """Set the level of a logger for so many seconds. Raises ValueError as `check` does."""
        self.check(name, level, seconds)
        logger = _logger(name)
        before, timer = self._changed.pop(name, (logger.level, None))
        if timer is not None:
            timer.cancel()
        timer = asyncio.get_running_loop().call_later(seconds, self._restore, name)
        self._changed[name] = (before, timer)
        logger.setLevel(level)

    def close(self) -> None:
        """Restore every level."""
        for name in list(self._changed):
            self._restore(name)

    def _decides_on_audit(self, logger: logging.Logger) -> bool:
        """Whether the audit has its level from this logger, as soon as all levels are their own again."""
        each: logging.Logger | None = logging.getLogger(AUDIT)
        while each is not None and each is not logger:
            own, *_ = self._changed.get(each.name, (each.level,))
            each = None if own else each.parent
        return each is not None

    def _restore(self, name: str) -> None:
        level, timer = self._changed.pop(name)
        timer.cancel()
        _logger(name).setLevel(level)


def _logger(name: str) -> logging.Logger:
    if name == "root":
        return logging.root
    if name not in logging.root.manager.loggerDict:  # it also has the parents of loggers that code has made
        raise ValueError(f"there is no logger {name!r:.100}; try 'grange', 'root', or the name that a log line shows")
    return logging.getLogger(name)
