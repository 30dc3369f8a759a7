"""What a log line says beside its text, how often it is written, and the ring that keeps the newest ones."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from grange.cli.logs import JsonLines, TextLines, write_logs
from grange.observability.log_context import LimitedLines, LogContext, current_trace
from grange.observability.log_ring import MAX_ERROR, MAX_FACT, MAX_FACTS, MAX_TEXT, RING_SIZE, LogRing
from grange.proto.journal import LogRow, ReadLogs
from grange.security.known import KnownSecrets

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ALL = ReadLogs(level=0)


@pytest.fixture
def logger() -> Generator[logging.Logger]:
    made = logging.getLogger("grange.runtime")
    level, made.propagate = made.level, False
    made.setLevel(logging.DEBUG)
    yield made
    made.setLevel(level)
    made.propagate = True
    made.handlers.clear()


def read(ring: LogRing, question: ReadLogs = ALL, limit: int = 500) -> list[LogRow]:
    return ring.after(question, limit)[0]


@contextmanager
def without_handlers(logger: logging.Logger) -> Generator[None]:
    """Without the handlers of this logger, which return."""
    before, logger.handlers = logger.handlers, []
    try:
        yield
    finally:
        logger.handlers = before


class Lines(logging.Handler):
    """Keeps the texts that a formatter makes."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.addFilter(LogContext(lambda: "cart"))
        self.addFilter(LimitedLines())
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


# --- the context ------------------------------------------------------------------------------------------------------


def test_a_json_line_names_trace_span_and_grain_type(logger: logging.Logger) -> None:
    lines = Lines(JsonLines({"cluster": "c", "silo": "one", "generation": 7}))
    logger.addHandler(lines)
    token = current_trace.set((TRACE, SPAN))
    logger.warning("a %s", "text", extra={"event": "timer_failed", "facts": {"n": 1}, "more": "x"})
    current_trace.reset(token)
    facts = json.loads(lines.texts[0])
    assert facts.pop("ts").endswith("+00:00")
    assert facts == {
        "level": "warning", "logger": "grange.runtime", "msg": "a text", "cluster": "c", "silo": "one",
        "generation": 7, "event": "timer_failed", "grain_type": "cart", "trace_id": TRACE, "span_id": SPAN,
        "facts": {"n": 1}, "more": "x",
    }  # fmt: skip


def test_a_line_outside_turns_and_traces_has_no_empty_fields(logger: logging.Logger) -> None:
    lines = Lines(JsonLines({}))
    lines.filters[0] = LogContext()
    logger.addHandler(lines)
    logger.info("text")
    assert set(json.loads(lines.texts[0])) == {"ts", "level", "logger", "msg"}


# --- the rate limit ---------------------------------------------------------------------------------------------------


def test_ten_lines_of_a_template_pass_and_the_others_are_counted(logger: logging.Logger) -> None:
    lines, ring = Lines(TextLines("%(message)s")), LogRing()
    for handler in (lines, ring):
        logger.addHandler(handler)
    for number in range(50):
        logger.error("failed %d", number)
    logger.error("another")
    assert len(lines.texts) == 11
    assert lines.texts[9].startswith("failed 9 (further ones are suppressed for ")
    assert lines.texts[10] == "another"
    assert [row.text for row in read(ring)] == lines.texts, "all handlers follow one decision"
    assert ring.counts == {"error": 51}


def test_the_next_line_says_how_many_were_suppressed(logger: logging.Logger) -> None:
    lines = Lines(JsonLines({}))
    logger.addHandler(lines)
    for seconds in (*[0.0] * 13, 61.0):
        record = logger.makeRecord(logger.name, logging.ERROR, __file__, 1, "failed", (), None)
        record.created = 1e9 + seconds
        lines.handle(record)
    assert json.loads(lines.texts[-1])["msg"] == "failed (3 suppressed)"


def test_events_are_apart_by_grain_type_and_other_loggers_are_not_limited(logger: logging.Logger) -> None:
    ring = LogRing()
    logger.addHandler(ring)
    for number in range(30):
        logger.error("failed", extra={"event": "timer_failed", "grain_type": f"type{number % 2}"})
    assert len(read(ring)) == 20
    shop = logging.getLogger("shop")
    shop.addHandler(ring)
    for _ in range(30):
        shop.error("sold out")
    shop.removeHandler(ring)
    assert len(read(ring)) == 50


def test_a_line_that_was_limited_where_it_was_made_passes(logger: logging.Logger) -> None:
    ring = LogRing()
    logger.addHandler(ring)
    for _ in range(30):
        logger.error("failed", extra={"limited": True})
    assert len(read(ring)) == 30


def test_no_act_hides_behind_others(caplog: pytest.LogCaptureFixture) -> None:
    ring, audit = LogRing(), logging.getLogger("grange.audit")
    caplog.set_level(logging.INFO, "grange.audit")
    audit.addHandler(ring)
    for number in range(30):
        audit.info("act %d", number, extra={"event": "act"})
    audit.removeHandler(ring)
    assert len(read(ring)) == 30


def test_a_silo_that_logs_errors_only_logs_the_acts(capsys: pytest.CaptureFixture[str]) -> None:
    root, audit = logging.getLogger(), logging.getLogger("grange.audit")
    before, level, own = list(root.handlers), root.level, audit.level
    try:
        with without_handlers(root):
            write_logs("error", False, {}, KnownSecrets())
            logging.captureWarnings(False)
            logging.getLogger("grange.silo").info("started")
            audit.info("done: drain")
    finally:
        root.setLevel(level)
        audit.setLevel(own)
    assert root.handlers == before
    assert "done: drain" in (text := capsys.readouterr().err)
    assert "started" not in text


# --- the ring ---------------------------------------------------------------------------------------------------------


def test_filters_and_numbers(logger: logging.Logger) -> None:
    ring = LogRing()
    logger.addHandler(ring)
    token = current_trace.set((TRACE, SPAN))
    logger.info("one", extra={"event": "a_b", "grain_type": "cart"})
    current_trace.reset(token)
    logger.warning("two of a kind", extra={"grain_type": "order"})
    logger.error("three")
    assert [row.number for row in read(ring)] == [1, 2, 3]
    asked = {
        "warnings": ReadLogs(level=logging.WARNING),
        "text": ReadLogs(contains="of a"),
        "type": ReadLogs(grain_type="cart"),
        "trace": ReadLogs(trace=TRACE),
        "event": ReadLogs(event="a_b"),
        "newest": ReadLogs(number=-2),
        "after": ReadLogs(number=2),
    }
    assert {name: [row.number for row in read(ring, question)] for name, question in asked.items()} == {
        "warnings": [2, 3], "text": [2], "type": [1], "trace": [1], "event": [1], "newest": [2, 3], "after": [3],
    }  # fmt: skip


def test_a_reader_that_pages_gets_each_matching_line_once(logger: logging.Logger) -> None:
    ring = LogRing()
    logger.addHandler(ring)
    for number in range(40):
        logger.log(logging.INFO if number % 3 else logging.ERROR, "n", extra={"limited": True})
    number, seen = 0, list[int]()
    while True:
        rows, lost, last = ring.after(ReadLogs(number=number, level=logging.ERROR), 4)
        assert lost == 0
        seen += [row.number for row in rows]
        if last == number:
            break
        number = last
    assert seen == list(range(1, 41, 3))
    assert number == 40


def test_the_ring_says_what_it_dropped(logger: logging.Logger) -> None:
    ring = LogRing()
    logger.addHandler(ring)
    for _ in range(RING_SIZE + 5):
        logger.info("text", extra={"limited": True})
    rows, lost, last = ring.after(ReadLogs(number=2), 1)
    assert (rows[0].number, lost, last) == (6, 3, 6)


def test_a_line_is_bounded_and_inert(logger: logging.Logger) -> None:
    ring = LogRing()
    logger.addHandler(ring)
    try:
        raise ValueError("x" * 100_000 + "\x1b[2J")
    except ValueError:
        many = {f"fact{number}": "y" * 10_000 for number in range(100)}
        logger.exception("%s", "text\x1b]0;\n\u202e" + "z" * 100_000, extra=many)
    (row,) = read(ring)
    assert len(row.text) < MAX_TEXT + 50
    assert len(row.error) <= MAX_ERROR
    assert len(row.facts) <= MAX_FACTS
    assert max(map(len, row.facts.values())) <= MAX_FACT
    assert not {"\x1b", "\u202e"} & {*row.text, *row.error}


def test_a_record_that_cannot_be_formatted_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    ring = LogRing()
    ring.handle(logging.LogRecord("shop", logging.INFO, __file__, 1, "%d", ("no number",), None))
    assert read(ring) == []
    assert "no number" in capsys.readouterr().err


def test_the_traceback_of_an_error_is_kept(logger: logging.Logger) -> None:
    ring = LogRing()
    logger.addHandler(ring)
    try:
        raise LookupError("no apple")
    except LookupError:
        logger.error("failed", exc_info=sys.exc_info())
    assert read(ring)[0].error.rstrip().endswith("LookupError: no apple")


class CounterThatLogs(Counter[str]):
    """Logs a line inside a count, as the garbage collector may: asyncio logs a task that it finds with an error."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger = logger
        self._has_logged = False

    def __setitem__(self, key: str, value: int) -> None:
        if not self._has_logged:
            self._has_logged = True
            self._logger.error("Task exception was never retrieved")
        super().__setitem__(key, value)


def test_a_line_that_is_logged_while_another_is_counted_does_not_stop_the_thread(logger: logging.Logger) -> None:
    ring = LogRing()
    ring.counts = CounterThatLogs(logger)
    logger.addHandler(ring)
    thread = threading.Thread(target=logger.info, args=("a line",), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert [(row.number, row.text) for row in read(ring)] == [(1, "Task exception was never retrieved"), (2, "a line")]
