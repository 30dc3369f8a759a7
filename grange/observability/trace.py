"""The trace context that travels with a call: the W3C `traceparent`. Pure.

A `traceparent` is a version, a trace id, the id of the calling span and flags, in hexadecimal. It may come from any
program, so a text that is none is dropped: it never fails the call.
"""

from __future__ import annotations

import re

_VERSION_00 = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]", re.ASCII)
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)

MAX_LENGTH = 256
"""Characters; a longer text is no traceparent. Version 00 has 55; a later version may add fields."""

KNOWN_FLAGS = 0x03
"""The flags that are passed on: sampled (1), and that the trace id is random (2). Others have no meaning yet."""

NO_TRACE = "0" * 32
NO_SPAN = "0" * 16
"""The ids that mean none."""

LENGTH = 55
"""Characters of a traceparent of version 00."""

SPAN_BITS = 64
RATIO_BITS = 64
"""The bits of a span id, and those at the end of a trace id that decide whether the trace is sampled."""


def clean(text: str) -> str:
    """The traceparent as this version passes it on; empty if the text is none.

    A later version is read as far as it is like version 00, and written as version 00.
    """
    if _VERSION_00.fullmatch(text):
        return text
    match = _TRACEPARENT.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        return ""
    version, trace, span, flags, rest = match.groups()
    known = version != "ff" and (rest is None or version != "00")
    if not known or trace == NO_TRACE or span == NO_SPAN:
        return ""
    return f"00-{trace}-{span}-{int(flags, 16) & KNOWN_FLAGS:02x}"


def shortened(text: str) -> str:
    """The text if it may be a traceparent of version 00, else what `clean` makes of it. It bounds what is kept."""
    return text if len(text) == LENGTH else clean(text)


def written(trace: int, span: int) -> str:
    """The traceparent of a sampled span of this process."""
    return f"00-{trace:032x}-{span:016x}-01"


def is_sampled(text: str) -> bool:
    """Whether the root of this traceparent, which is `clean` or `shortened`, decided to sample the trace."""
    return text[-1] in "13"


def ids_of(clean_text: str) -> tuple[int, int]:
    """The trace id and span id of a clean traceparent."""
    return int(clean_text[3:35], 16), int(clean_text[36:52], 16)


def bound_of(ratio: float) -> int:
    """The bound below which the last bits of a trace id must be for the trace to be sampled: the rule of the SDKs."""
    return round(ratio * (1 << RATIO_BITS))
