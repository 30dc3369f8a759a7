"""The spans of this process: what a sampled call did here, when, and under which parent.

A call carries a `Trace`: its place in a trace. Only the root of a trace decides whether it is sampled. A trace that is
not sampled is one object that is passed on; a sampled one grows a `Span` for each step. The runtime asks for a trace
once per call and enters it at the start of the turn; directory and storage ask `part` for the steps of the running
code. Without telemetry no call has a trace, and each of these places tests one attribute.

No OpenTelemetry here: `otel.py` takes the spans that have ended.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol

from grange.errors import CallNotExecuted, CallOutcomeUnknown
from grange.observability.log_context import current_trace
from grange.observability.trace import SPAN_BITS, TRACE_BITS, bound_of, ids_of, is_sampled, ratio_bits, written
from grange.proto.ids import GrainId

Fact = str | int | float | bool

MAX_SPANS = 200
"""Most spans of one trace that this process keeps for its own list of traces. All of them are exported."""

SYSTEM = "grange"
"""The value of `rpc.system.name`."""

current: ContextVar[Trace | None] = ContextVar("grange_trace", default=None)
"""The place of the running code in a trace: set in turns and while a grain is activated, in their own contexts."""


class Sink(Protocol):
    """Takes the spans of a process. It is called on the event loop: it must return at once, and not raise."""

    def ended(self, span: Span) -> None:
        """A span has ended."""
        ...


class Kept(Protocol):
    """The traces that this process keeps for its own list; `kept_traces.py` implements it."""

    def add(self, branch: Branch) -> None:
        """The first span of a branch has ended."""
        ...

    def failed(self, trace: Trace, name: str, begun: float, ended: float, error: str) -> None:
        """A turn of a trace that is not sampled has failed. Times are in loop time."""
        ...


class Outside(Protocol):
    """The tracing of the application itself, with the OpenTelemetry API; `otel.py` implements it."""

    def parent(self) -> tuple[int, int, bool] | None:
        """Trace id, span id and the decision of the application's current span; None: it has none."""
        ...

    def enter(self, span: Span) -> None:
        """Make this span the parent of the spans that the application begins in the running context."""
        ...


class Trace:
    """The place of a call in a trace that is not sampled. Callees get it unchanged."""

    __slots__ = ("_number", "_text", "spans")
    sampled = False

    def __init__(self, spans: Spans, number: int, text: str = "") -> None:
        self.spans = spans
        self._number = number
        self._text = text

    @property
    def number(self) -> int:
        """The trace id."""
        return self._number or ids_of(self._text)[0]

    @property
    def traceparent(self) -> str:
        """The text for the next process. Made when it is needed: a call in one process needs none."""
        if not self._text:
            self._text = written(self._number, (self._number >> SPAN_BITS) or 1, sampled=False)
        return self._text

    def server(self, grain_id: GrainId, method: str) -> Trace:
        """The place of the request in its grain."""
        return self

    def enter(self) -> None:
        """The turn, or the activation, begins: calls that it makes are in this trace."""
        current.set(self)

    def leave(self, grain_id: GrainId, method: str, started: float, error: BaseException | None) -> None:
        """The turn has ended, with the error that left it. `started` is in loop time."""
        if error is not None and self.spans.kept is not None:
            name = f"{grain_id.type}/{method}"
            self.spans.kept.failed(self, name, started, self.spans.time(), type(error).__qualname__)

    def refused(self) -> None:
        """A silo refused the call, and it is attempted again."""


class Sampled(Trace, ABC):
    """The place of a call in a sampled trace."""

    __slots__ = ()
    sampled = True

    @abstractmethod
    def child(self, kind: str, name: str, facts: dict[str, Fact]) -> Span:
        """Begin a span here."""

    def server(self, grain_id: GrainId, method: str) -> Trace:
        """Begin the span of the request in its grain; it waits for its turn first."""
        return self.child("server", *self.spans.call_of(grain_id, method))


class Branch(Sampled):
    """The part of a sampled trace in this process below one span of elsewhere, or below none.

    `ended` are its spans that have ended. `offset` is Unix time minus loop time, for the whole branch. `link`: the
    traceparent of the span that caused it without waiting for it.
    """

    __slots__ = ("ended", "link", "offset", "parent", "root")

    def __init__(self, spans: Spans, number: int, parent: int = 0, link: str = "") -> None:
        super().__init__(spans, number)
        self.parent = parent
        self.link = link
        self.offset = spans.now() - spans.time()
        self.root: Span | None = None
        self.ended: list[Span] = []

    @property
    def traceparent(self) -> str:
        """The text for the next process."""
        return written(self._number, self.parent or 1, sampled=True)

    def child(self, kind: str, name: str, facts: dict[str, Fact]) -> Span:
        """Begin a span here. The first one is the root of this branch."""
        span = Span(self, self.parent, kind, name, facts)
        if self.root is None:
            self.root = span
        return span

    def end(self, span: Span) -> None:
        """A span of this branch has ended."""
        if len(self.ended) < MAX_SPANS or span is self.root:
            self.ended.append(span)
        if self.spans.sink is not None:
            self.spans.sink.ended(span)
        if span is self.root and self.spans.kept is not None:
            self.spans.kept.add(self)


class Span(Sampled):
    """A span of this process, from its making to `end`. It may be used as a context manager.

    kind: as in `proto/journal.py`. wait: the seconds until its turn started. status: the outcome of a call, as far as
    this side knows it. Times are in loop time; `branch.offset` makes Unix time of them.
    """

    __slots__ = ("begun", "branch", "error", "facts", "finished", "id", "kind", "name", "parent", "status", "wait")

    def __init__(self, branch: Branch, parent: int, kind: str, name: str, facts: dict[str, Fact]) -> None:
        spans = branch.spans
        super().__init__(spans, branch.number)
        self.branch = branch
        self.id = spans.new_id()
        self.parent = parent
        self.kind = kind
        self.name = name
        self.facts = facts
        self.begun = spans.time()
        self.finished = 0.0
        self.wait = 0.0
        self.error = ""
        self.status = ""

    @property
    def traceparent(self) -> str:
        """The text for the next process, whose spans are children of this one."""
        return written(self._number, self.id, sampled=True)

    def child(self, kind: str, name: str, facts: dict[str, Fact]) -> Span:
        """Begin a child of this span."""
        return Span(self.branch, self.id, kind, name, facts)

    def enter(self) -> None:
        """The turn, or the activation, begins in a context of its own, which ends with it: nothing is reset."""
        current.set(self)
        current_trace.set((f"{self._number:032x}", f"{self.id:016x}"))
        if self.spans.outside is not None:
            self.spans.outside.enter(self)

    def leave(self, grain_id: GrainId, method: str, started: float, error: BaseException | None) -> None:
        """The turn has ended. Its code ran, so it failed by every error, unless it was cancelled."""
        self.wait = max(0.0, started - self.begun)
        if error is not None:
            self.status = "UNKNOWN" if isinstance(error, asyncio.CancelledError) else "FAILED"
        self.end(error)

    def refused(self) -> None:
        """A silo refused the call, and it is attempted again."""
        self.facts["grange.refusals"] = int(self.facts.get("grange.refusals", 0)) + 1

    def end(self, error: BaseException | None = None) -> None:
        """End it, once, with the error that it raised."""
        if self.finished:
            return
        self.finished = self.spans.time()
        if error is not None:
            self.error = type(error).__qualname__
        self.status = self.status or _status(error)
        self.branch.end(self)

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)


class Below(Sampled):
    """A span of the application in a turn: spans below it belong to the branch of that turn."""

    __slots__ = ("parent", "turn")

    def __init__(self, turn: Span, parent: int) -> None:
        super().__init__(turn.spans, turn.number)
        self.turn = turn
        self.parent = parent

    def child(self, kind: str, name: str, facts: dict[str, Fact]) -> Span:
        """Begin a child of the application's span."""
        return Span(self.turn.branch, self.parent, kind, name, facts)


InTrace = Trace | None
"""The place of a call in a trace; None without telemetry."""


class Spans:
    """Begins the traces of one silo or client, and knows where their spans go.

    `sample`: the share (0 to 1) of traces that are sampled. `grain_keys`: spans carry the keys of grains. `now`: Unix
    time; `time`: loop time. `outside`: the tracing of the application.
    """

    def __init__(
        self,
        sample: float,
        rng: random.Random,
        now: Callable[[], float],
        time: Callable[[], float],
        *,
        grain_keys: bool = False,
    ) -> None:
        self.sample = sample
        self.now = now
        self.time = time
        self.sink: Sink | None = None
        self.kept: Kept | None = None
        self.outside: Outside | None = None
        self._grain_keys = grain_keys
        self._bits = rng.getrandbits
        self._bound = bound_of(sample)

    def new_id(self) -> int:
        """An id for a span."""
        return self._bits(SPAN_BITS) or 1

    def here(self) -> Trace:
        """The place of the running code in a trace; outside of turns and without a span of the application, a root."""
        trace = current.get()
        if self.outside is None or (trace is not None and not trace.sampled):
            return self.root() if trace is None else trace
        given = self.outside.parent()
        if given is None:
            return self.root() if trace is None else trace
        number, span, sampled = given
        if (
            isinstance(trace, Span) and trace.number == number
        ):  # the turn's own span, or one of the application below it
            return trace if trace.id == span else Below(trace, span)
        return Branch(self, number, span) if sampled else Trace(self, 0, written(number, span, sampled=False))

    def root(self, link: str = "") -> Trace:
        """Begin a trace. This is the only place that decides whether to sample."""
        number = self._bits(TRACE_BITS)
        return Branch(self, number or 1, link=link) if ratio_bits(number) < self._bound else Trace(self, number or 1)

    def arrived(self, traceparent: str, grain_id: GrainId, method: str) -> Trace:
        """The place of a request from another process, whose clean `traceparent` is given; without one, a root."""
        if not traceparent:
            return self.root().server(grain_id, method)
        if not is_sampled(traceparent):
            return Trace(self, 0, traceparent)
        return Branch(self, *ids_of(traceparent)).server(grain_id, method)

    def tick(self, grain_type: str, link: str) -> Trace:
        """Begin the trace of one tick of a timer. `link`: the traceparent of the turn that started the timer."""
        root = self.root(link)
        if isinstance(root, Branch):
            return root.child("timer", f"timer {grain_type}", {"grange.type": grain_type})
        return root

    def call_of(self, grain_id: GrainId, method: str) -> tuple[str, dict[str, Fact]]:
        """The name and the facts of the span of a call, by the conventions for RPC."""
        name = f"{grain_id.type}/{method}"
        facts: dict[str, Fact] = {"rpc.system.name": SYSTEM, "rpc.method": name}
        if self._grain_keys:
            facts["grange.key"] = grain_id.key
        return name, facts


def part(kind: str, name: str, facts: dict[str, Fact] | None = None) -> AbstractContextManager[object]:
    """A `with` for one step of the running code, such as a storage operation. It does nothing if nothing is sampled."""
    return part_of(current.get(), kind, name, facts)


def part_of(
    trace: Trace | None, kind: str, name: str, facts: dict[str, Fact] | None = None
) -> AbstractContextManager[object]:
    """`part` for a step of the code that has this trace."""
    if not isinstance(trace, Sampled):
        return _NOTHING
    return trace.child(kind, name, {} if facts is None else facts)


_NOTHING = nullcontext()


def link_here() -> str:
    """The traceparent of the running code, if its trace is sampled: for what it causes and does not wait for."""
    trace = current.get()
    return trace.traceparent if isinstance(trace, Sampled) else ""


def _status(error: BaseException | None) -> str:
    """The outcome of a call, as its caller knows it: executed, certainly not executed, or unknown."""
    if error is None:
        return "OK"
    if isinstance(error, CallNotExecuted):
        return "NOT_EXECUTED"
    return "UNKNOWN" if isinstance(error, CallOutcomeUnknown | asyncio.CancelledError) else "FAILED"
