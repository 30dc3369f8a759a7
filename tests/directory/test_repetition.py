"""The pauses between the attempts of a directory's request: they grow, and a change of the cluster ends them."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from grange.directory.options import DirectoryOptions
from grange.directory.slice.current_view import CurrentView
from grange.directory.slice.repetition import Repetition
from tests.directory.virtual_time import run

OPTIONS = DirectoryOptions()


async def _refresh(_: int) -> None:
    raise AssertionError("no table is read here")


def scene() -> tuple[CurrentView, Repetition]:
    current = CurrentView(_refresh)
    return current, Repetition(current, OPTIONS, Random(0))


async def paused(repetition: Repetition, most: float = 60.0, held: float | None = None) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await repetition.pause(most, held)
    return loop.time() - began


async def refused(repetition: Repetition) -> float:
    repetition.begin()
    return await paused(repetition)


def test_pauses_grow_while_nothing_changes() -> None:
    async def main() -> None:
        _, repetition = scene()
        pauses = [await refused(repetition) for _ in range(12)]
        assert OPTIONS.retry_first <= pauses[0] < 0.02
        assert 0.3 < pauses[-1] <= OPTIONS.retry_limit

    run(main())


def test_a_change_ends_the_pause_and_the_pauses_begin_anew() -> None:
    async def main() -> None:
        current, repetition = scene()
        for _ in range(12):
            await refused(repetition)
        asyncio.get_running_loop().call_later(0.001, current.changed.fire)
        assert await refused(repetition) < 0.01
        assert await refused(repetition) < 0.02

    run(main())


def test_a_change_during_an_attempt_leaves_no_pause_after_it() -> None:
    """The other silo may have been asked before it could decide."""

    async def main() -> None:
        current, repetition = scene()
        for _ in range(12):
            await refused(repetition)
        repetition.begin()
        current.changed.fire()
        assert await paused(repetition) == 0
        assert await refused(repetition) < 0.02

    run(main())


def test_after_an_attempt_that_waited_there_is_hardly_a_pause() -> None:
    """A silo whose view is behind, or whose range is not ready, waits itself before it refuses."""

    async def main() -> None:
        _, repetition = scene()
        for _ in range(12):
            repetition.begin()
            await asyncio.sleep(OPTIONS.ready_wait)
            assert await paused(repetition) < 0.02

    run(main())


def test_a_held_grain_is_asked_for_when_it_is_held_no_more() -> None:
    """Also after many refusals for another reason."""

    async def main() -> None:
        _, repetition = scene()
        for _ in range(12):
            await refused(repetition)
        repetition.begin()
        assert await paused(repetition, held=0.03) == pytest.approx(0.03)
        repetition.begin()
        assert await paused(repetition, held=0.0) == pytest.approx(OPTIONS.retry_first)
        repetition.begin()
        assert await paused(repetition, most=0.5, held=2.0) == pytest.approx(0.5)

    run(main())
