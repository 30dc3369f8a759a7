"""The trace context: what is passed on, and what is dropped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.observability.trace import MAX_LENGTH, clean

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_a_traceparent_is_passed_on_as_it_is(flags: str) -> None:
    text = f"00-{TRACE}-{SPAN}-{flags}"
    assert clean(text) == text


def test_flags_without_a_meaning_are_not_passed_on() -> None:
    assert clean(f"00-{TRACE}-{SPAN}-fd") == f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize("text", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-the-future-brings"])
def test_a_later_version_is_read_as_version_00(text: str) -> None:
    assert clean(text) == f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01-" + "x" * MAX_LENGTH,
        f"00-{TRACE[:-1]}\N{ARABIC-INDIC DIGIT THREE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-\x00\x1b",
    ],
)
def test_a_text_that_is_no_traceparent_is_dropped(text: str) -> None:
    assert clean(text) == ""


@given(st.text(alphabet="0123456789abcdef-fF\n\0x", max_size=80) | st.text(max_size=400))
def test_only_a_traceparent_of_version_00_or_nothing_comes_out(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == "" or (len(cleaned) == 55 and cleaned.isascii() and clean(cleaned) == cleaned)
