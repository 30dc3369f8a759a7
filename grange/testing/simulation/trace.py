"""The event log of a simulation: one line per interesting thing, hashed, and counted by kind."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

ROOT = logging.getLogger("grange")


class Trace:
    """Everything that happened, in order. `counts` says how often each kind of thing did."""

    def __init__(self, now: Callable[[], float], who: Callable[[], str]) -> None:
        self.now = now
        self._who = who
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()

    def saw(self, kind: str, text: str = "") -> None:
        """One thing, in the process that runs now."""
        self.counts[kind] += 1
        self.lines.append(f"{self.now():.6f} {self._who()} {kind} {text}".rstrip())

    def count(self, kind: str) -> None:
        """One thing that is too frequent for a line of its own."""
        self.counts[kind] += 1

    @property
    def hash(self) -> str:
        """SHA-256 of all lines: the same for the same seed and commit."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()

    @contextmanager
    def listening(self) -> Generator[None]:
        """Take what grange logs into the trace, and nowhere else: an `event` by its name, the rest by its level."""
        tap = _Tap(self)
        level, spread, taps = ROOT.level, ROOT.propagate, ROOT.handlers[:]
        ROOT.setLevel(logging.INFO)
        ROOT.propagate = False
        ROOT.handlers[:] = [tap]
        try:
            yield
        finally:
            ROOT.setLevel(level)
            ROOT.propagate = spread
            ROOT.handlers[:] = taps


class _Tap(logging.Handler):
    """Hands log records to a trace."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        """logging.Handler."""
        event = getattr(record, "event", None)
        kind = f"log:{event}" if event else f"log:{record.levelname.lower()}"
        error = f" {record.exc_info[1]!r}" if record.exc_info and record.exc_info[1] else ""
        self._trace.saw(kind, record.getMessage() + error)
