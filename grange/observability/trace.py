"""The trace context that travels with a call: the W3C `traceparent`. Pure.

A `traceparent` is a version, a trace id, the id of the calling span and flags, in hexadecimal. It may come from any
program, so a text that is none is dropped: it never fails the call.
"""

from __future__ import annotations

import re

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)

MAX_LENGTH = 256
"""Characters; a longer text is no traceparent. Version 00 has 55; a later version may add fields."""

SAMPLED = 0x01
KNOWN_FLAGS = 0x03
"""The flags that are passed on: sampled (1), and that the trace id is random (2). Others have no meaning yet."""

NO_TRACE = "0" * 32
NO_SPAN = "0" * 16
"""The ids that mean none."""

TRACE_BITS, SPAN_BITS, RATIO_BITS = 128, 64, 64
"""The sizes of the ids, and the bits at the end of a trace id that decide whether a trace is sampled."""

_RATIO_MASK = (1 << RATIO_BITS) - 1


def clean(text: str) -> str:
    """The traceparent as this version passes it on; empty if the text is none.

    A later version is read as far as it is like version 00, and written as version 00.
    """
    if len(text) > MAX_LENGTH:
        return ""
    match = _TRACEPARENT.fullmatch(text)
    if match is None:
        return ""
    version, trace, span, flags, rest = match.groups()
    known = version != "ff" and (rest is None or version != "00")
    if not known or trace == NO_TRACE or span == NO_SPAN:
        return ""
    return f"00-{trace}-{span}-{int(flags, 16) & KNOWN_FLAGS:02x}"


def written(trace: int, span: int, sampled: bool) -> str:
    """The traceparent of a span of this process."""
    return f"00-{trace:032x}-{span:016x}-{int(sampled):02x}"


def is_sampled(clean_text: str) -> bool:
    """Whether the root of this clean traceparent decided to sample the trace."""
    return bool(int(clean_text[-2:], 16) & SAMPLED)


def ids_of(clean_text: str) -> tuple[int, int]:
    """The trace id and span id of a clean traceparent."""
    return int(clean_text[3:35], 16), int(clean_text[36:52], 16)


def bound_of(ratio: float) -> int:
    """The bound below which `ratio_bits` of a trace id must be for the trace to be sampled: the rule of the SDKs."""
    return round(ratio * (1 << RATIO_BITS))


def ratio_bits(trace: int) -> int:
    """The part of a trace id that decides. All processes with one ratio decide in the same way on one trace."""
    return trace & _RATIO_MASK
