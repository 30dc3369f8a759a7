"""The context of log lines: the trace of the code that writes them."""

from __future__ import annotations

from contextvars import ContextVar

current_trace: ContextVar[tuple[str, str] | None] = ContextVar("grange_current_trace", default=None)
"""Trace id and span id of the running turn, in hexadecimal, if its trace is sampled."""
