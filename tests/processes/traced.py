"""A silo whose grains trace themselves, too: `grange run tests.processes.traced:silo`."""

from __future__ import annotations

import os

from opentelemetry import trace

from grange import Grain
from grange.silo import Silo

tracer = trace.get_tracer("shop")


class Shop(Grain[str], name="shop"):
    """Calls another shop within a span of its own."""

    async def pid(self) -> int:
        return os.getpid()

    async def ask(self, key: str) -> int:
        with tracer.start_as_current_span("choose"):
            return await self.get_grain(Shop, key).pid()


silo = Silo(grains=[Shop])
