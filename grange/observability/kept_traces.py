"""The traces that a silo keeps for its own list: the newest that failed, were slow, or are samples."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from math import inf

from grange.observability.histogram import Histogram
from grange.observability.spans import Branch, Span, Unsampled
from grange.observability.trace import ids_of
from grange.proto.journal import RootRow, SpanRow

LIMIT = 500
"""Traces that one silo keeps. A flood of one kind does not drive out the others: see `KeptTraces`."""

BRANCHES = 20
"""Parts of one trace that are kept, such as the turns of one call chain that comes back again and again."""

ERROR, SLOW, SAMPLE = "error", "slow", "sample"

TIMES_BEFORE_SLOW = 100
"""Traces after whose first spans of one name the limit is taken anew, and before which none counts as slow."""

MOST_NAMES = 2_000
"""Names of first spans whose times are counted."""


class Durations:
    """The times of the first spans of traces, by name. A trace is slow if it is in the last hundredth of its name."""

    def __init__(self) -> None:
        self._times: dict[str, tuple[Histogram, list[float]]] = {}

    def is_slow(self, name: str, seconds: float) -> bool:
        """Whether this time is above the 99th percentile of those before; it is counted after that."""
        known = self._times.get(name)
        if known is None:
            if len(self._times) >= MOST_NAMES:
                return False
            known = self._times[name] = Histogram(), [0, inf]
        times, state = known
        times.observe(seconds)
        slow = seconds > state[1]
        state[0] += 1
        if state[0] % TIMES_BEFORE_SLOW == 0:
            state[1] = times.frozen().quantile(0.99) or inf
        return slow


class Entry:
    """One trace: its parts in this process, by the reason for which it is kept.

    `summaries` are the requests of a trace that is not sampled: nothing is known of what they did.
    """

    __slots__ = ("branches", "kept", "number", "summaries")

    def __init__(self, number: int, kept: str) -> None:
        self.number = number
        self.kept = kept
        self.branches: list[Branch] = []
        self.summaries: list[SpanRow] = []

    def rows(self) -> Iterator[SpanRow]:
        """All spans."""
        yield from self.summaries
        for branch in self.branches:
            yield from (row_of(span) for span in list(branch.ended))

    def root(self) -> SpanRow:
        """The first span of the trace in this process."""
        roots = [row_of(each.root) for each in self.branches if each.root is not None]
        return min((*self.summaries, *roots), key=lambda row: row.start)


class KeptTraces:
    """At most `limit` traces (`spans.Kept`). If there are more, the oldest of the most frequent kind is dropped."""

    def __init__(self, now: Callable[[], float], time: Callable[[], float], limit: int = LIMIT) -> None:
        self._now = now
        self._time = time
        self._durations = Durations()
        self._limit = limit
        self._kinds: dict[str, OrderedDict[int, Entry]] = {
            ERROR: OrderedDict(),
            SLOW: OrderedDict(),
            SAMPLE: OrderedDict(),
        }
        self.last = 0

    def add(self, branch: Branch) -> None:
        """The first span of a branch has ended: keep the branch, whose other spans may end later."""
        root = branch.root
        if root is None:
            return
        slow = self._durations.is_slow(root.name, root.finished - root.begun)
        kind = ERROR if root.error else SLOW if slow else SAMPLE
        entry = self._entry(branch.number, kind)
        if len(entry.branches) < BRANCHES:
            entry.branches.append(branch)

    def summarise(self, trace: Unsampled, name: str, times: tuple[float, float, float], error: str) -> None:
        """A request of a trace that is not sampled has failed or was slow: keep it, without ids, which no span has."""
        text = trace.traceparent
        if not text:
            return  # that of another process was none
        arrived, started, ended = times
        start, number = arrived + self._now() - self._time(), ids_of(text)[0]
        row = SpanRow(
            f"{number:032x}", "", "", "server", name, start, ended - arrived, max(0.0, started - arrived), error
        )
        entry = self._entry(number, ERROR if error else SLOW)
        if len(entry.summaries) < BRANCHES:
            entry.summaries.append(row)

    def roots(self, after: int, limit: int) -> list[RootRow]:
        """The traces numbered after `after`, the newest first."""
        entries = [each for kind in self._kinds.values() for each in kind.values() if each.number > after]
        entries.sort(key=lambda entry: -entry.number)
        return [RootRow(entry.root(), entry.kept, entry.number) for entry in entries[: max(0, limit)]]

    def spans(self, trace: int) -> list[SpanRow]:
        """The spans of one trace in this process, by their start; empty if it is not kept.

        A parent ends after its children: if both began at one time, it comes first.
        """
        found = next((kind[trace] for kind in self._kinds.values() if trace in kind), None)
        return [] if found is None else sorted(reversed(list(found.rows())), key=lambda row: row.start)

    def _entry(self, trace: int, kind: str) -> Entry:
        """The entry of a trace: one that is kept already moves to a more urgent kind."""
        self.last += 1
        held = next((name for name, entries in self._kinds.items() if trace in entries), None)
        entry = Entry(self.last, kind) if held is None else self._kinds[held].pop(trace)
        order = list(self._kinds)
        entry.kept = kind if held is None else min(held, kind, key=order.index)
        entry.number = self.last
        self._kinds[entry.kept][trace] = entry
        if sum(map(len, self._kinds.values())) > self._limit:
            max(self._kinds.values(), key=len).popitem(last=False)
        return entry


def row_of(span: Span) -> SpanRow:
    """A span as a row of an answer."""
    facts = {**span.facts, "grange.outcome": span.status} if span.kind in ("client", "server") else span.facts
    return SpanRow(
        f"{span.number:032x}",
        f"{span.id:016x}",
        f"{span.parent:016x}" if span.parent else "",
        span.kind,
        span.name,
        span.begun + span.branch.offset,
        span.finished - span.begun,
        span.wait,
        span.error,
        facts,
    )
