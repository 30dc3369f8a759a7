"""Typed events of one silo. One call logs an event, counts it, keeps it in a ring, and tells it to subscribers.

`catalogue.py` declares the events. `silo/startup.py` gives one `Events` to the rooms, which publish what they know.
"""

from __future__ import annotations

import asyncio
import logging
import string
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, cast

import msgspec

from grange import clock
from grange.aio.rate_limit import RateLimit
from grange.counted import counted
from grange.errors import GrangeError
from grange.observability.ring import Ring
from grange.printable import TextBlock, printable
from grange.proto.journal import EventRow

log = logging.getLogger("grange.silo")

Scalar = str | int | float | bool

NO_LABELS: Mapping[str, Scalar] = {}

RING_SIZE = 2000
"""Events that one silo keeps."""


class _Sentences(string.Formatter):
    """Formats sentences: a field with a slash is a number with its noun."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """string.Formatter: one field."""
        one, slash, many = format_spec.partition("/")
        return counted(value, one, many) if slash else cast("str", super().format_field(value, format_spec))


_SENTENCES = _Sentences()


class Event(msgspec.Struct, frozen=True):
    """One kind of event. Its fields are its facts; the class attributes declare the rest.

    NAME: the name, on the wire and as `event` in the log line. It never changes.
    LEVEL: the level of its log line, as `logging` counts.
    LOGGER: the room that publishes it.
    SENTENCE: its text. `{me}` is the silo that publishes it, any other name in braces one of its facts. `{n:call/}` is
    the fact n with its noun, and `{n:call waits/calls wait}` with more words.
    KEY: the facts that tell apart what is limited together: at most ten lines of one name and key in a minute.
    BLOCK: the fact that is a text of several lines, such as a stack; the log line ends with it.
    """

    NAME: ClassVar[str]
    LEVEL: ClassVar[int]
    LOGGER: ClassVar[str]
    SENTENCE: ClassVar[str]
    KEY: ClassVar[tuple[str, ...]] = ()
    BLOCK: ClassVar[str] = ""

    def facts(self) -> dict[str, Scalar]:
        """The facts by name."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    def text(self, me: str) -> str:
        """The sentence, on one line and printable."""
        return printable(_SENTENCES.vformat(self.SENTENCE, (), {"me": me, **self.facts()}))


Subscriber = Callable[[EventRow], None]
"""Called in the event loop with each event that is kept. It must not block; its exceptions are logged."""


class Events:
    """The events of one silo. Make it in the silo's event loop.

    `me` names the silo in sentences. `now` is the wall clock, for people. `labels` are further fields of each log line.
    `counts` has all events by name, also those that the rate limit leaves out of the log and of the ring.
    """

    def __init__(
        self, me: str = "", now: Callable[[], datetime] = clock.utc_now, labels: Mapping[str, Scalar] = NO_LABELS
    ) -> None:
        self.me = me
        self._labels = labels
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._lock = threading.RLock()  # as in `LogRing`: the garbage collector may run code that publishes
        self._limit = RateLimit()
        self._ring: Ring[EventRow] = Ring(RING_SIZE)
        self._subscribers: dict[object, Subscriber] = {}
        self.counts: Counter[str] = Counter()

    def publish(self, event: Event, error: BaseException | None = None) -> None:
        """Log, count and keep an event. Called from any thread; never waits, never raises.

        `error` is its cause: one outside the error tree is a bug, so its traceback is logged.
        """
        key = (event.NAME, *(getattr(event, name) for name in event.KEY))
        with self._lock:
            self.counts[event.NAME] += 1
            suffix = self._limit.suffix(key, self._loop.time())
            if suffix is None:
                return
            row = self._ring.append(lambda number: self._row(number, event, suffix))
        self._log(event, row.text, None if isinstance(error, GrangeError) else error)
        if self._subscribers:
            self._tell(row)

    def after(self, number: int, limit: int) -> tuple[list[EventRow], int]:
        """At most `limit` events after a number, the oldest first, and how many before them are lost.

        A negative number -n asks for the newest n. Called from any thread.
        """
        with self._lock:
            rows, lost = self._ring.after(number)
        return rows[:limit], lost

    @property
    def suppressed(self) -> int:
        """Number of events that the rate limit left out of the log and of the ring."""
        return self._limit.suppressed

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Have `subscriber` called with each event from now on. Returns the function that ends this; idempotent."""
        key = object()
        self._subscribers[key] = subscriber

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe

    def _row(self, number: int, event: Event, suffix: str) -> EventRow:
        return EventRow(number, self._now().timestamp(), event.NAME, event.text(self.me) + suffix, event.facts())

    def _log(self, event: Event, text: str, bug: BaseException | None) -> None:
        logger = logging.getLogger(f"grange.{event.LOGGER}")
        if not logger.isEnabledFor(event.LEVEL):
            return
        facts = event.facts()
        block = facts.pop(event.BLOCK, "")
        grain_type = facts.pop("grain_type", "")
        extra = {**self._labels, "event": event.NAME, "grain_type": grain_type, "facts": facts, "limited": True}
        template, args = ("%s:\n%s", (text, TextBlock(block))) if block else ("%s", (text,))
        logger.log(event.LEVEL, template, *args, exc_info=bug, extra=extra, stacklevel=3)

    def _tell(self, row: EventRow) -> None:
        if threading.get_ident() != self._thread:
            try:
                self._loop.call_soon_threadsafe(self._tell_here, row)
            except RuntimeError:  # the loop is closed: its subscribers are gone
                return
        else:
            self._tell_here(row)

    def _tell_here(self, row: EventRow) -> None:
        for subscriber in tuple(self._subscribers.values()):
            try:
                subscriber(row)
            except Exception:
                log.exception("a subscriber of events failed", extra={"event": "listener_failed"})
