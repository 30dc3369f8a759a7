"""Questions of the admin thread to the silo's loop, while the silo stops."""

from __future__ import annotations

import asyncio

import pytest

from grange.errors import SiloStopped, SiloUnavailable
from grange.membership.model.member import View
from grange.proto.acts import Asker, Level
from grange.proto.ids import SiloAddress
from grange.runtime.system_target import SystemTargets
from grange.silo.crossing import Crossing

NO_ONE = Asker("", Level.NONE)


@pytest.mark.parametrize("steps", range(6))
async def test_a_question_that_meets_the_stop_is_answered_at_once(steps: int) -> None:
    """Also when its task is cancelled before its first step."""

    async def ask(silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
        raise NotImplementedError

    async def never() -> None:
        await asyncio.Event().wait()

    crossing = Crossing((SiloAddress("h", 1, 1), "one", "c"), lambda: View(0), SystemTargets(lambda _: NO_ONE), ask)
    asked = asyncio.create_task(crossing.cross(never, 10.0))
    for _ in range(steps):
        await asyncio.sleep(0)
    await crossing.close()
    # The task starts with the second iteration; from then on the question may have been carried out.
    with pytest.raises(SiloUnavailable if steps < 2 else SiloStopped):
        await asked
