"""The stack of code that blocks an event loop, and of a task that waits. Both begin at the user's own code.

The frames above it are the same in every stack (the loop, the runtime), and would hide the one line that matters.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

MACHINERY = ("asyncio", "uvloop", "grange")
"""Packages whose frames are left out in front of the user's first frame."""

DEBUGGERS = ("bdb", "pdb", "pydevd", "_pydevd_bundle", "debugpy", "IPython")
"""Packages that hold a thread on purpose."""

LOOPS = (
    ("asyncio.events", "_run"),
    ("asyncio.base_events", "run_forever"),
    ("asyncio.runners", "run"),
)
"""The functions of asyncio that run callbacks and tasks. uvloop has no frames of its own."""

_USERS = ("grange.cli.demo_silo",)
"""Modules inside `MACHINERY` that hold grains."""


Frames = list[tuple[FrameType, int]]
"""The frames of a thread at one moment with their lines, outermost first."""


def frames_of(thread: int) -> Frames:
    """The frames of a running thread; none if the thread has ended."""
    frame = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage]
    return [] if frame is None else list(traceback.walk_stack(frame))[::-1]


def blocked_stack(thread: int) -> str:
    """The stack of a running thread, from the user's first frame on, as lines of text."""
    return text_of(frames_of(thread))


def text_of(frames: Frames) -> str:
    """A stack from the user's first frame on, as lines of text."""
    return _text(frames[_first_of_user(frames) :])


def line_of(frames: Frames) -> str:
    """The user's first frame: `File "shop.py", line 12, in add`; empty if there is none."""
    if not frames:
        return ""
    frame, line = frames[_first_of_user(frames)]
    if not _is_users(_module(frame)):
        return ""
    return f'File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}'


def waiting_stack(task: asyncio.Task[Any]) -> str:
    """The stack of a task that is suspended, from the user's first frame on, as lines of text."""
    frames = [(frame, frame.f_lineno) for frame in awaited_frames(task.get_coro())]
    return _text(frames[_first_of_user(frames) :])


def in_debugger(thread: int) -> bool:
    """Whether a debugger holds this thread."""
    frame = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if _is_in(_module(frame), DEBUGGERS):
            return True
        frame = frame.f_back
    return False


def _first_of_user(frames: Frames) -> int:
    """The index of the first frame of the innermost piece of user code; 0 if there is none.

    A turn may start inside another one, so the search goes from the innermost frame outwards: over the library code
    that the user called, then over the user's code, to the machinery that called it.
    """
    users = [_is_users(_module(frame)) for frame, _ in frames]
    if not any(users):
        return 0
    index = len(users) - 1
    while not users[index]:
        index -= 1
    while index > 0 and not _starts_user_code(frames[index - 1][0]):
        index -= 1
    while not users[index]:
        index += 1
    return index


def _starts_user_code(frame: FrameType) -> bool:
    """Whether this frame runs a turn, a hook of a grain, or a callback of the event loop."""
    module, function = _module(frame), frame.f_code.co_name
    return module.startswith("grange.runtime.activations.") or (module, function) in LOOPS


def _is_users(module: str) -> bool:
    return module in _USERS or not _is_in(module, MACHINERY)


def _is_in(module: str, packages: tuple[str, ...]) -> bool:
    return module.partition(".")[0] in packages


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def awaited_frames(awaited: object) -> Iterator[FrameType]:
    """The frames of a suspended coroutine and of those that it awaits, outermost first."""
    while (kind := next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), None)) is not None:
        frame = getattr(awaited, f"{kind}_frame")
        if isinstance(frame, FrameType):
            yield frame
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")


def _text(frames: Frames) -> str:
    summary = traceback.StackSummary.extract(iter(frames))
    return "".join(summary.format()).rstrip() or "  the stack is not available"
