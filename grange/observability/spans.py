"""The spans of this process: what a sampled call did here, when, and under which parent.

A call carries its place in a trace. Only the root of a trace decides whether it is sampled. A trace that is
not sampled is one object that is passed on; a sampled one grows a `Span` for each step. The runtime asks for a trace
once per call and enters it at the start of the turn; directory and storage begin the steps of the running code
(`steps.py`). Without telemetry no call has a trace, and each of these places tests one attribute.

No OpenTelemetry here: `otel.py` takes the spans that have ended.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import ClassVar, Protocol, TypeAlias

import msgspec

from grange.errors import CallNotExecuted, CallOutcomeUnknown
from grange.observability.log_context import current_trace
from grange.observability.trace import RATIO_BITS, SPAN_BITS, bound_of, clean, ids_of, is_sampled, written
from grange.proto.ids import GrainId

Fact = str | int | float | bool

MAX_SPANS = 200
"""Most spans of one trace that this process keeps for its own list of traces. All of them are exported."""

SYSTEM = "grange"
"""The value of `rpc.system.name`."""

InTrace: TypeAlias = "Unsampled | Sampled | None"
"""The place of a call in a trace; None without telemetry."""

InTurn: TypeAlias = "Unsampled | Span | None"
"""The place of a turn in a trace; None without telemetry."""

current: ContextVar[InTrace] = ContextVar("grange_trace", default=None)
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

    def summarise(self, trace: Unsampled, name: str, times: tuple[float, float, float], error: str) -> None:
        """A request of a trace that is not sampled has failed, or was slow (`error` is empty).

        The times are those of its arrival, of the start of its turn and of its end, in loop time.
        """
        ...


class Outside(Protocol):
    """The tracing of the application itself, with the OpenTelemetry API; `otel.py` implements it."""

    @property
    def context(self) -> Callable[[], object]:
        """Returns the running context of OpenTelemetry. An empty one has no span."""
        ...

    def parent(self) -> tuple[int, int, bool] | None:
        """Trace id, span id and the decision of the application's current span; None: it has none."""
        ...

    def enter(self, span: Span) -> None:
        """Make this span the parent of the spans that the application begins in the running context."""
        ...


class Unsampled(msgspec.Struct, eq=False, gc=False):
    """The place of a call in a trace that is not sampled. Callees get it unchanged. A struct, because it is made often.

    low: the end of the trace id, if the trace began here. text: the traceparent. It is made when it is needed, because
    a call in one process needs none; that of another process is looked at only if it is passed on.
    """

    sampled: ClassVar[bool] = False

    spans: Spans
    low: int = 0
    text: str = ""

    @property
    def traceparent(self) -> str:
        """The text for the next process."""
        if self.low:
            self.text = self.spans.unsampled_text(self.low)
            self.low = 0
        else:
            self.text = clean(self.text)
        return self.text

    def server(self, grain_id: GrainId, method: str) -> Unsampled:
        """The place of the request in its grain."""
        return self

    def enter(self) -> None:
        """The turn, or the activation, begins: calls that it makes are in this trace."""
        current.set(self)

    def leave(
        self, grain_id: GrainId, method: str, arrived: float, started: float, error: BaseException | None
    ) -> None:
        """The turn has ended, with the error that left it; or without one, and it was slow. Times are in loop time."""
        if self.spans.kept is not None:
            times = arrived, started, self.spans.time()
            text = "" if error is None else type(error).__qualname__
            self.spans.kept.summarise(self, f"{grain_id.type}/{method}", times, text)

    def refused(self) -> None:
        """A silo refused the call, and it is attempted again."""


class Sampled:
    """The place of a call in a sampled trace, whose id is `number`. Not an ABC: `isinstance` is asked in each call."""

    __slots__ = ("number", "spans")
    sampled: ClassVar[bool] = True

    def __init__(self, spans: Spans, number: int) -> None:
        self.spans = spans
        self.number = number

    @property
    def traceparent(self) -> str:
        """The text for the next process."""
        raise NotImplementedError

    def child(self, kind: str, name: str, facts: dict[str, Fact]) -> Span:
        """Begin a span here."""
        raise NotImplementedError

    def server(self, grain_id: GrainId, method: str) -> Span:
        """Begin the span of the request in its grain; it waits for its turn first."""
        return self.child("server", *self.spans.call_of(grain_id, method))

    def refused(self) -> None:
        """A silo refused the call, and it is attempted again."""


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
        return written(self.number, self.parent or 1)

    def child(self, kind: str, name: str, facts: dict[str, Fact]) -> Span:
        """Begin a span here. The first one is the root of this branch."""
        span = Span(self, self.parent, kind, name, facts)
        if self.root is None:
            self.root = span
        return span

    def end(self, span: Span) -> None:
        """A span of this branch has ended."""
        spans = self.spans
        if len(self.ended) < MAX_SPANS or span is self.root:
            self.ended.append(span)
        if spans.sink is not None:
            spans.sink.ended(span)
        if span is self.root and spans.kept is not None:
            spans.kept.add(self)


class Span(Sampled):
    """A span of this process, from its making to `end`. It may be used as a context manager.

    kind: as in `proto/journal.py`. wait: the seconds until its turn started. status: the outcome of a call, as far as
    this side knows it. Times are in loop time; `branch.offset` makes Unix time of them.
    """

    __slots__ = ("begun", "branch", "error", "facts", "finished", "id", "kind", "name", "parent", "status", "wait")

    def __init__(self, branch: Branch, parent: int, kind: str, name: str, facts: dict[str, Fact]) -> None:
        self.spans = spans = branch.spans
        self.number = branch.number
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
        return written(self.number, self.id)

    def child(self, kind: str, name: str, facts: dict[str, Fact]) -> Span:
        """Begin a child of this span."""
        return Span(self.branch, self.id, kind, name, facts)

    def enter(self) -> None:
        """The turn, or the activation, begins in a context of its own, which ends with it: nothing is reset."""
        current.set(self)
        current_trace.set((f"{self.number:032x}", f"{self.id:016x}"))
        if self.spans.outside is not None:
            self.spans.outside.enter(self)

    def leave(
        self, grain_id: GrainId, method: str, arrived: float, started: float, error: BaseException | None
    ) -> None:
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

    @property
    def traceparent(self) -> str:
        """The text for the next process."""
        return written(self.number, self.parent)

    def child(self, kind: str, name: str, facts: dict[str, Fact]) -> Span:
        """Begin a child of the application's span."""
        return Span(self.turn.branch, self.parent, kind, name, facts)


Trace = Unsampled | Sampled
"""The place of a call in a trace."""

Turn = Unsampled | Span
"""The place of a turn in a trace."""


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
        self._high = self.new_id()
        self._prefix, self._suffix = f"00-{self._high:016x}", f"-{self.new_id():016x}-00"

    def new_id(self) -> int:
        """An id for a span."""
        return self._bits(SPAN_BITS) or 1

    def unsampled_text(self, low: int) -> str:
        """The traceparent of a trace that began here and is not sampled. No span has the span id in it."""
        return f"{self._prefix}{low:016x}{self._suffix}"

    def root(self, link: str = "") -> Unsampled | Branch:
        """Begin a trace. This is the only place that decides whether to sample.

        The first half of the trace id is random for this process, the second half, which decides, for each trace.
        """
        low = self._bits(RATIO_BITS)
        if low >= self._bound:
            return Unsampled(self, low or 1)
        return Branch(self, self._high << RATIO_BITS | low, link=link)

    def begin(self) -> Trace:
        """The place of a call that is made outside of turns: below a span of the application, or at a root."""
        outside = self.outside
        if outside is not None and outside.context() and (given := outside.parent()) is not None:
            return self._of_application(*given)
        return self.root()

    def inside(self, turn: Sampled) -> Sampled:
        """The place of a call in a sampled turn: below the turn, or below a span of the application in the turn."""
        given = None if self.outside is None else self.outside.parent()
        if given is None or not isinstance(turn, Span) or given[:2] == (turn.number, turn.id):
            return turn
        number, span, sampled = given
        if number == turn.number:
            return Below(turn, span)
        return Branch(self, number, span) if sampled else turn

    def _of_application(self, number: int, span: int, sampled: bool) -> Trace:
        if sampled:
            return Branch(self, number, span)
        return Unsampled(self, 0, f"{written(number, span)[:-2]}00")

    def arrived(self, traceparent: str, grain_id: GrainId, method: str) -> Turn:
        """The place of a request from another process. `traceparent` is `shortened`; without one, it begins a trace."""
        if traceparent:
            if not is_sampled(traceparent):
                return Unsampled(self, 0, traceparent)
            if text := clean(traceparent):
                return Branch(self, *ids_of(text)).server(grain_id, method)
        return self.root().server(grain_id, method)

    def tick(self, grain_type: str, link: str) -> Turn:
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


def _status(error: BaseException | None) -> str:
    """The outcome of a call, as its caller knows it: executed, certainly not executed, or unknown."""
    if error is None:
        return "OK"
    if isinstance(error, CallNotExecuted):
        return "NOT_EXECUTED"
    return "UNKNOWN" if isinstance(error, CallOutcomeUnknown | asyncio.CancelledError) else "FAILED"
