"""The silo of the process tests about the life of activations: `grange run tests.processes.life:silo`."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

from grange import Grain, PersistentState, blocking, from_thread, rate_limited, request_context, response_timeout
from grange.silo import Silo


@dataclass
class Amount:
    value: int = 0


class Worker(Grain[str], name="worker"):
    """Hangs, blocks and counts. A worker whose key begins with "bad" cannot be activated."""

    def __init__(self, state: PersistentState[Amount]) -> None:
        self.state = state

    async def on_activate(self) -> None:
        if self.key.startswith("bad"):
            raise LookupError(f"{self.key} has no desk")

    @response_timeout(120)
    async def hang(self) -> None:
        """Ignore the first cancellation, change the state, and write it."""
        self.state.value.value += 100
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await self.state.write()

    @response_timeout(120)
    @blocking
    def add(self, amount: int) -> tuple[int, str, str]:
        """Add in a thread; return the amount, the thread, and the user."""
        self.state.value.value += amount
        from_thread(self.state.write)
        return self.state.value.value, threading.current_thread().name, str(request_context.get("user"))

    @rate_limited(2, seconds=600)
    async def ask(self) -> str:
        return "yes"


silo = Silo(grains=[Worker])
