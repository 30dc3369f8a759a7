"""The application in the pods: `grange run tests.deploy.kubelet.app:silo`."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from grange import Grain, PersistentState, read_only
from grange.silo import Silo


@dataclass
class Total:
    total: int = 0


class Account(Grain[str], name="account"):
    """Adds, and answers when the sum is stored."""

    def __init__(self, state: PersistentState[Total]) -> None:
        self.state = state

    async def add(self) -> int:
        self.state.value.total += 1
        await self.state.write()
        return self.state.value.total

    @read_only
    async def total(self) -> int:
        return self.state.value.total


class Worker(Grain[str], name="worker"):
    """A grain without state."""

    async def version(self) -> str:
        """The version of the application that runs it, from the pod's template."""
        return os.environ["APP_VERSION"]

    async def compute(self, seconds: float) -> str:
        """Hold the event loop, and the interpreter, as a badly written turn does. Returns the name of the pod."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            sum(range(1000))
        return os.environ["GRANGE_NAME"]


silo = Silo(grains=[Account, Worker])
