"""The rules of starting and stopping one silo: which of them may overlap, and the effect of a second request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from grange.aio.loop_binding import LoopBinding
from grange.aio.uninterrupted import uninterrupted
from grange.errors import SiloUnavailable
from grange.proto.ids import SiloAddress
from grange.silo.start_steps import StartSteps


class Lifecycle:
    """Start and end of one silo: `starting`, then `stop` or `kill`. Made by `Silo`; `silo/startup.py` pushes the parts.

    Rules:

    - Nothing stops while the silo starts: parts that start meanwhile would be left running. Cancel the start instead.
    - Stops run one at a time. A second caller must not close parts that the first still needs, nor return before it.
    - A start that fails stops what it started, in reverse. A stop after it does nothing.
    - Another event loop or process must not stop the silo: it raises WrongLoop.
    """

    def __init__(self) -> None:
        self.binding = LoopBinding("this silo")
        self.steps = StartSteps()
        self._parts = AsyncExitStack()
        self._starting = False
        self._closing = asyncio.Lock()
        self._asked: asyncio.Task[None] | None = None
        self.killed = False
        """Whether the silo ends by `kill`; `RunningSilo.stop_or_kill` reads it."""
        self.asked_to_stop = asyncio.Event()
        """Set when `ask_to_stop` has started a stop."""

    @asynccontextmanager
    async def starting(self) -> AsyncGenerator[AsyncExitStack]:
        """The start: each part pushes its stop onto the stack, which runs in reverse when the silo stops."""
        self._starting = True
        try:
            yield self._parts
        except BaseException:
            try:
                await uninterrupted(self._parts.aclose())  # a second cancellation must not leave parts behind
            finally:
                self.binding.end()
            raise
        finally:
            self._starting = False

    async def stop(self) -> None:
        """Drain and close the parts. Joins a stop that `ask_to_stop` started, and raises what that raised.

        Raises RuntimeError during the start.
        """
        self.binding.check("Silo.stop")
        await self._close()
        if self._asked is not None:
            await self._asked

    async def kill(self) -> None:
        """Close the parts at once, as close to the effect of SIGKILL as is possible inside the process.

        Raises RuntimeError during the start.
        """
        self.binding.check("Silo.kill")
        self.killed = True
        await self._close()

    def ask_to_stop(self, address: SiloAddress) -> None:
        """Start a stop in a task of its own, because the caller does not wait; asking again changes nothing.

        `address` is this silo's. Called for the act `drain`. Raises SiloUnavailable during the
        start.
        """
        if self._starting:
            raise SiloUnavailable(f"silo {address} is still starting; ask again when it is active")
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_task(self._close(), name="drain")
            self.asked_to_stop.set()

    async def _close(self) -> None:
        if self._starting:
            raise RuntimeError("this silo is still starting; cancel the task that starts it, which stops its parts")
        async with self._closing:
            await self._parts.aclose()
