"""The binding of a client or silo to the event loop and the process that it was started in.

Its parts are not thread-safe: they may only run in that loop. Its sockets and threads belong to that process: a forked
child that used them would take messages away from its parent.
"""

from __future__ import annotations

import asyncio
import os

from grange.aio.forks import FORKS
from grange.errors import CallerClosed, CallNotExecuted, WrongLoop


class LoopBinding:
    """Made in the owner's event loop. `owner` names the client or silo in messages: "this client".

    `loop` is None once the owner has ended. So one comparison of `loop` with the running loop finds a foreign loop, a
    forked child (it has another loop) and an owner that has ended.
    """

    __slots__ = ("_made_in", "_owner", "_process", "loop")

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._process = os.getpid()
        self._made_in = asyncio.get_running_loop()
        FORKS.guard(self._made_in)
        self.loop: asyncio.AbstractEventLoop | None = self._made_in

    @property
    def is_in_fork(self) -> bool:
        """Whether this process is a fork of the owner's."""
        return os.getpid() != self._process

    def end(self) -> None:
        """The owner ends: from now on its calls are refused."""
        self.loop = None

    def refusal(self, call: str) -> CallNotExecuted:
        """The error of a call that the comparison has refused."""
        if (problem := self._foreign()) is not None:
            return WrongLoop(f"{call} was not executed: {problem}")
        return CallerClosed(
            f"{call} was not executed: {self._owner} is closed; get the reference again from a client or silo that runs"
        )

    def check(self, action: str) -> None:
        """Raise WrongLoop unless the owner's loop and process run this. It passes also after the owner has ended."""
        if running_loop() is not self._made_in and (problem := self._foreign()) is not None:
            raise WrongLoop(f"{action} was not executed: {problem}")

    def _foreign(self) -> str | None:
        """The reason and the remedy if another loop or process than the owner's runs this, else None."""
        process = os.getpid()
        if process != self._process:
            return (
                f"{self._owner} belongs to process {self._process}, and this is a fork of it, process {process}; "
                "enter a Client in the child, and start children with the method spawn or forkserver of multiprocessing"
            )
        if running_loop() is self._made_in:
            return None
        if self._made_in.is_closed():
            return (
                f"{self._owner} belongs to an event loop that is closed (of an earlier asyncio.run, or of another "
                "test); enter a Client or start a Silo in the loop that uses it"
            )
        return (
            f"{self._owner} belongs to another event loop; hand the coroutine over with "
            "asyncio.run_coroutine_threadsafe(coroutine, loop), call from_thread(reference.method, ...) in a @blocking "
            "method, or enter a Client in this loop"
        )


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs this code, or None outside of a loop."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
