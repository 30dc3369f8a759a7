"""Spans without a silo: the root alone decides, children have their parents, and ended spans go to their places."""

from __future__ import annotations

import asyncio
import random
from contextvars import copy_context
from typing import Any

import pytest

from grange import CallTimeout, SiloUnavailable
from grange.observability.kept_traces import ERROR, SAMPLE, SLOW, KeptTraces
from grange.observability.log_context import current_trace
from grange.observability.spans import Sampled, Span, Spans, Trace, current
from grange.observability.steps import link_here, part, part_of
from grange.observability.trace import clean, ids_of
from grange.proto.ids import GrainId

ANN = GrainId("cart", "ann")
SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOT_SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Ended(list[Span]):
    """A sink."""

    def ended(self, span: Span) -> None:
        self.append(span)


class Application:
    """The application's tracing: its current span is set by the test."""

    def __init__(self) -> None:
        self.current: tuple[int, int, bool] | None = None
        self.entered: list[Span] = []

    def context(self) -> bool:
        return self.current is not None

    def parent(self) -> tuple[int, int, bool] | None:
        return self.current

    def enter(self, span: Span) -> None:
        self.entered.append(span)
        self.current = (span.number, span.id, True)


def spans(sample: float = 1.0, **options: Any) -> Spans:
    clock = Clock()
    made = Spans(sample, random.Random(1), lambda: 5000.0 + clock.now, clock, **options)
    made.sink = Ended()
    made.kept = KeptTraces(made.now, made.time)
    return made


def span_of(trace: Trace) -> Span:
    assert isinstance(trace, Span)
    return trace


def ended(of: Spans) -> list[Span]:
    assert isinstance(of.sink, Ended)
    return of.sink


def kept(of: Spans) -> KeptTraces:
    assert isinstance(of.kept, KeptTraces)
    return of.kept


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_a_root_is_sampled_with_the_given_share(share: float) -> None:
    made = spans(share)
    sampled = sum(made.root().sampled for _ in range(10_000))
    assert abs(sampled - 10_000 * share) <= 3 * (10_000 * share * (1 - share)) ** 0.5


def test_two_processes_with_one_ratio_decide_alike_on_one_trace() -> None:
    """So do the SDKs of OpenTelemetry: the last 64 bits of the trace id are compared with the share."""
    made = spans(0.25)
    for _ in range(100):
        root = made.root()
        number, _ = ids_of(root.traceparent)
        assert root.sampled == (number & (2**64 - 1) < 2**62)


@pytest.mark.parametrize(("text", "sampled"), [(SAMPLED, True), (NOT_SAMPLED, False)])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_only_the_root_decides(text: str, sampled: bool, share: float) -> None:
    trace = spans(share).arrived(text, ANN, "add")
    assert trace.sampled is sampled
    assert trace.traceparent[:35] == text[:35]
    assert trace.traceparent.endswith("-01" if sampled else "-00")


def test_an_unsampled_trace_is_passed_on_as_it_came() -> None:
    assert spans().arrived(NOT_SAMPLED, ANN, "add").server(ANN, "add").traceparent == NOT_SAMPLED
    root = spans(0.0).root()
    assert clean(root.traceparent) == root.traceparent
    assert root.traceparent.endswith("-00")


@pytest.mark.parametrize("flag", "0123")
def test_a_request_with_garbage_in_place_of_a_trace_passes_none_on(flag: str) -> None:
    garbage = "g" * 54 + flag
    trace = spans(0.0).arrived(garbage, ANN, "add")
    assert trace.traceparent == "" or clean(trace.traceparent) == trace.traceparent
    trace.leave(ANN, "add", 0.0, 0.0, ValueError("x"))


def test_a_child_names_its_parent() -> None:
    made = spans()
    server = span_of(made.arrived(SAMPLED, ANN, "add"))
    assert server.parent == 0x00F067AA0BA902B7
    client = server.child("client", "other/get", {})
    assert client.parent == server.id
    assert client.traceparent == f"00-{server.number:032x}-{client.id:016x}-01"
    there = span_of(spans(0.0).arrived(client.traceparent, GrainId("other", "b"), "get"))
    assert (there.number, there.parent) == (client.number, client.id)


def test_ids_are_those_of_the_injected_random() -> None:
    def ids() -> list[str]:
        made = spans()
        return [span_of(made.arrived("", ANN, "add")).traceparent for _ in range(5)]

    assert ids() == ids()


def test_a_turn_is_entered_in_its_own_context() -> None:
    made = spans()
    server = span_of(made.arrived(SAMPLED, ANN, "add"))
    inside = copy_context()
    inside.run(server.enter)
    assert current.get() is None
    assert inside[current] is server
    assert inside[current_trace] == ("4bf92f3577b34da6a3ce929d0e0e4736", f"{server.id:016x}")
    assert inside.run(link_here) == server.traceparent
    assert inside.run(made.inside, server) is server


def test_an_unsampled_turn_gives_log_lines_no_trace_and_the_calls_it_makes_no_root() -> None:
    made = spans(1.0)
    trace = made.arrived(NOT_SAMPLED, ANN, "add")
    inside = copy_context()
    inside.run(trace.enter)
    assert current_trace not in inside
    assert inside[current] is trace
    assert inside.run(link_here) == ""


def test_the_wait_for_the_turn_is_told_apart_from_the_turn() -> None:
    made = spans()
    server = span_of(made.arrived(SAMPLED, ANN, "add"))
    made.time.now += 3  # type: ignore[attr-defined]
    started = made.time()
    made.time.now += 1  # type: ignore[attr-defined]
    server.leave(ANN, "add", started, started, None)
    assert (server.wait, server.finished - server.begun) == (3, 4)
    assert server.begun + server.branch.offset == 6000.0  # Unix time at its making
    assert ended(made) == [server]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "OK"),
        (ValueError("x"), "FAILED"),
        (SiloUnavailable("x"), "NOT_EXECUTED"),
        (CallTimeout("x"), "UNKNOWN"),
        (asyncio.CancelledError(), "UNKNOWN"),
    ],
)
def test_the_status_of_a_call_is_one_of_the_three_outcomes(error: BaseException | None, status: str) -> None:
    span = _client(spans())
    span.end(error)
    assert span.status == status
    assert span.error == ("" if error is None else type(error).__name__)


def _client(made: Spans) -> Span:
    root = made.root()
    assert isinstance(root, Sampled)
    return root.child("client", *made.call_of(ANN, "add"))


def test_a_turn_that_raises_what_another_call_raised_has_failed() -> None:
    """The other call was not executed, but this one was."""
    made = spans()
    server = span_of(made.arrived(SAMPLED, ANN, "add"))
    server.leave(ANN, "add", made.time(), made.time(), SiloUnavailable("x"))
    assert (server.status, server.error) == ("FAILED", "SiloUnavailable")


def test_a_span_ends_once() -> None:
    made = spans()
    span = _client(made)
    with pytest.raises(ValueError, match="x"), span:
        raise ValueError("x")
    span.end()
    assert ended(made) == [span]
    assert span.error == "ValueError"


def test_keys_are_recorded_only_if_that_is_wanted() -> None:
    assert "grange.key" not in _client(spans()).facts
    assert _client(spans(grain_keys=True)).facts["grange.key"] == "ann"


def test_a_part_is_a_child_of_the_running_turn_and_nothing_elsewhere() -> None:
    made = spans()
    with part("storage", "state write"):
        pass
    with part_of(made.arrived(NOT_SAMPLED, ANN, "add"), "storage", "state write"):
        pass
    assert ended(made) == []
    server = span_of(made.arrived(SAMPLED, ANN, "add"))
    inside = copy_context()
    inside.run(server.enter)

    def store() -> None:
        with part("storage", "state write", {"grange.state": "cart"}):
            pass

    inside.run(store)
    (span,) = ended(made)
    assert (span.parent, span.kind, span.facts) == (server.id, "storage", {"grange.state": "cart"})


def test_a_tick_begins_a_trace_that_names_its_cause() -> None:
    made = spans()
    tick = span_of(made.tick("clock", SAMPLED))
    assert tick.parent == 0
    assert tick.number != 0x4BF92F3577B34DA6A3CE929D0E0E4736
    assert tick.branch.link == SAMPLED
    assert not spans(0.0).tick("clock", SAMPLED).sampled


# -- the application's own spans --


def test_a_span_of_the_application_is_the_parent_of_a_call_at_the_root() -> None:
    made = spans(0.0)
    made.outside = outside = Application()
    assert not made.begin().sampled
    outside.current = (7, 8, True)
    here = made.begin()
    assert isinstance(here, Sampled)
    call = here.child("client", "a/b", {})
    assert (call.number, call.parent) == (7, 8)
    outside.current = (7, 8, False)
    assert made.begin().traceparent == f"00-{7:032x}-{8:016x}-00"


def test_a_span_of_the_application_in_a_turn_is_the_parent_of_the_calls_below_it() -> None:
    made = spans()
    made.outside = outside = Application()
    server = span_of(made.arrived(SAMPLED, ANN, "add"))
    inside = copy_context()
    inside.run(server.enter)
    assert outside.entered == [server]
    assert inside.run(made.inside, server) is server
    outside.current = (server.number, 99, True)
    below = inside.run(made.inside, server)
    assert isinstance(below, Sampled)
    call = below.child("client", "a/b", {})
    assert (call.number, call.parent, call.branch) == (server.number, 99, server.branch)


# -- the traces that are kept --


def test_the_kept_traces_are_those_that_failed_were_slow_or_are_samples() -> None:
    made = spans()
    for seconds, error in (*[(0.0, None)] * 100, (3.0, None), (0.0, ValueError("x"))):
        span = _client(made)
        made.time.now += seconds  # type: ignore[attr-defined]
        span.end(error)
    rows = kept(made).roots(0, 10)
    assert [(row.kept, row.number) for row in rows[:3]] == [(ERROR, 102), (SLOW, 101), (SAMPLE, 100)]
    assert kept(made).roots(101, 10) == rows[:1]
    assert kept(made).roots(0, 1) == rows[:1]


def test_a_failed_turn_is_kept_although_its_trace_is_not_sampled() -> None:
    made = spans(0.0)
    trace = made.arrived(NOT_SAMPLED, ANN, "add")
    made.time.now += 1  # type: ignore[attr-defined]
    trace.leave(ANN, "add", made.time() - 1, made.time() - 1, ValueError("secret"))
    (row,) = kept(made).roots(0, 10)
    assert (row.kept, row.span.error, row.span.seconds, row.span.name) == (ERROR, "ValueError", 1, "cart/add")
    assert row.span.trace == NOT_SAMPLED[3:35]
    assert ended(made) == []
    assert "secret" not in repr(row)


def test_a_slow_request_is_kept_although_its_trace_is_not_sampled() -> None:
    made = spans(0.0)
    trace = made.arrived(NOT_SAMPLED, ANN, "add")
    made.time.now += 3  # type: ignore[attr-defined]
    trace.leave(ANN, "add", made.time() - 3, made.time() - 1, None)
    (row,) = kept(made).roots(0, 10)
    assert (row.kept, row.span.error, row.span.seconds, row.span.wait) == (SLOW, "", 3, 2)
    assert ended(made) == []
    trace.leave(ANN, "pay", made.time(), made.time(), ValueError("x"))
    (row,) = kept(made).roots(0, 10)
    assert row.kept == ERROR
    assert len(kept(made).spans(int(NOT_SAMPLED[3:35], 16))) == 2


def test_a_flood_of_samples_does_not_drive_out_the_failures() -> None:
    made = spans()
    made.kept = KeptTraces(made.now, made.time, limit=10)
    _client(made).end(ValueError("x"))
    for _ in range(100):
        _client(made).end()
    rows = kept(made).roots(0, 100)
    assert len(rows) == 10
    assert [row.kept for row in rows].count(ERROR) == 1


def test_parts_of_one_trace_are_one_entry_which_is_as_urgent_as_its_worst_part() -> None:
    made = spans()
    first = span_of(made.arrived(SAMPLED, ANN, "add"))
    first.child("storage", "state write", {}).end()
    first.leave(ANN, "add", made.time(), made.time(), None)
    made.time.now += 1  # type: ignore[attr-defined]
    span_of(made.arrived(SAMPLED, ANN, "pay")).leave(ANN, "pay", made.time(), made.time(), ValueError("x"))
    (row,) = kept(made).roots(0, 10)
    assert (row.kept, row.span.name) == (ERROR, "cart/add")
    names = [each.name for each in kept(made).spans(first.number)]
    assert names == ["cart/add", "state write", "cart/pay"]


def test_a_trace_without_end_keeps_a_bounded_number_of_spans() -> None:
    made = spans()
    root = _client(made)
    for _ in range(1000):
        root.child("storage", "state write", {}).end()
    root.end()
    assert len(ended(made)) == 1001
    assert len(kept(made).spans(root.number)) <= 201
    for _ in range(1000):
        trace = span_of(made.arrived(root.traceparent, ANN, "add"))
        trace.leave(ANN, "add", made.time(), made.time(), None)
    assert len(kept(made).spans(root.number)) <= 201 + 20
