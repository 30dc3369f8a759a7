"""Questions of the admin thread to the silo's loop, while the silo stops."""

from __future__ import annotations

import asyncio

import pytest

from grange.errors import CallTimeout, SiloStopped, SiloUnavailable
from grange.membership.model.member import View
from grange.proto.acts import Asker, Level
from grange.proto.ids import SiloAddress
from grange.runtime.system_target import SystemTargets
from grange.silo.crossing import Crossing

NO_ONE = Asker("", Level.NONE)


def crossing() -> Crossing:
    async def ask(silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
        raise AssertionError("no other silo is asked")

    return Crossing((SiloAddress("h", 1, 1), "one", "c"), lambda: View(0), SystemTargets(lambda _: NO_ONE), ask)


async def test_a_question_whose_asker_has_gone_or_waited_too_long_is_cancelled() -> None:
    """Else each page that is closed would leave its questions behind in the silo."""
    began, ended = asyncio.Event(), list[str]()

    async def never() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    way = crossing()
    asked = asyncio.create_task(way.cross(never, 10.0))
    await began.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    with pytest.raises(CallTimeout):
        await way.cross(never, 0.0)
    for _ in range(5):
        await asyncio.sleep(0)
    assert ended[:1] == ["cancelled"]
    assert len(way._tasks) == 0
    await way.close()


@pytest.mark.parametrize("steps", range(6))
async def test_a_question_that_meets_the_stop_is_answered_at_once(steps: int) -> None:
    """Also when its task is cancelled before its first step."""

    async def never() -> None:
        await asyncio.Event().wait()

    way = crossing()
    asked = asyncio.create_task(way.cross(never, 10.0))
    for _ in range(steps):
        await asyncio.sleep(0)
    await way.close()
    # The task starts with the second iteration; from then on the question may have been carried out.
    with pytest.raises(SiloUnavailable if steps < 2 else SiloStopped):
        await asked
