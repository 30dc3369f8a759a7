"""Makes the event loops of a process harmless in its forks.

A fork inherits the loop with its tasks, and shares its epoll set and sockets with its parent. A child that left its
code by `sys.exit`, an error or a return went on with the loop: `asyncio.run` cancels all tasks and closes the loop, so
the child ended the parent's silo and took the parent's sockets out of the shared epoll set. The parent was deaf for
ever. See ADR 0060.
"""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import sys
from collections.abc import Mapping
from typing import Any, NoReturn
from weakref import WeakSet

from grange.errors import WrongLoop


class Forks:
    """Remembers the loops that clients and silos run in. In a forked child none of them takes another step."""

    def __init__(self) -> None:
        self._loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._has_hook = False

    def guard(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called in the loop, before anything of a client or silo runs in it."""
        if not self._has_hook and hasattr(os, "register_at_fork"):
            self._has_hook = True
            os.register_at_fork(after_in_child=self._in_child)
        self._loops.add(loop)

    def _in_child(self) -> None:
        for loop in list(self._loops):
            if not loop.is_closed():
                _orphan(loop)
        self._loops.clear()


def _orphan(loop: asyncio.AbstractEventLoop) -> None:
    """Keep an inherited loop from its next step. Neither asyncio nor uvloop has a public way to this."""
    if isinstance(getattr(loop, "_selector", None), selectors.BaseSelector):
        for handle in list(getattr(loop, "_ready", ())):
            handle.cancel()  # the rest of the iteration that forked
        vars(loop)["_selector"] = _Orphan()
        return
    descriptor = getattr(loop, "_get_backend_id", None)  # of uvloop
    if descriptor is not None and sys.platform == "linux":
        with select.epoll() as own:
            os.dup2(own.fileno(), descriptor(), inheritable=False)
    loop.call_soon(_leave)


def _leave() -> None:
    """End the child. In uvloop nothing can raise before all other callbacks, and an exit under way is not seen."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os.write(2, f"{_refusal()}\n".encode())
    finally:
        os._exit(1)


def _refusal() -> WrongLoop:
    return WrongLoop(
        f"process {os.getpid()} was forked in an event loop of its parent and cannot run it; end such a child with "
        "os._exit, or start it with the method spawn or forkserver of multiprocessing"
    )


class _Orphan(selectors.BaseSelector):
    """The selector of an inherited loop in a fork: it touches nothing, and refuses to wait."""

    def select(self, timeout: float | None = None) -> NoReturn:
        """The loop asks for this at the start of every iteration. Raises the exit under way, else WrongLoop."""
        leaving = sys.exc_info()[1]
        if isinstance(leaving, SystemExit | KeyboardInterrupt):
            raise leaving  # the child ends with its own exit code
        raise _refusal()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """selectors.BaseSelector: nothing is registered."""
        return selectors.SelectorKey(fileobj, -1, events, data)

    def unregister(self, fileobj: Any) -> NoReturn:
        """selectors.BaseSelector: nothing is registered."""
        raise KeyError(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """selectors.BaseSelector: nothing is registered."""
        return {}


FORKS = Forks()
"""The loops of this process. They cannot belong to an object of one client or silo: ADR 0060."""
