"""Plays one short round of each row that fits into a CI run; `make faults` plays all rows, and more rounds.

A broken promise fails the test. A time over its target is only reported, because CI machines may be busy.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.processes.faults import network
from tests.processes.faults.plan import GROUPS, ONE_HOST, SECURED
from tests.processes.faults.round import SHORT, Row, play
from tests.processes.faults.stage import Stage, stage

SEED = "FAULTS_SEED"
LONG_ONLY = frozenset({"F2", "F3", "F22", "F25", "F31", "F38", "HOG"})
"""Rows for `make faults` only: a short round takes half a minute or more, or another row includes it."""

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


class Stages:
    """The cluster of one group at a time, started when its first row is played."""

    def __init__(self, folder: Path, parts: AsyncExitStack) -> None:
        self._folder = folder
        self._parts = parts
        self._group = ""
        self._stage: Stage | None = None

    async def of(self, group: str) -> Stage:
        if group != self._group or self._stage is None:
            await self._parts.aclose()
            seed = int(os.environ.get(SEED, "20"))
            self._stage = await self._parts.enter_async_context(
                stage(self._folder / group, seed, secured=group == SECURED, one_host=group == ONE_HOST)
            )
            self._group = group
        return self._stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stages(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stages]:
    """The clusters of this module; the last one ends with it."""
    async with AsyncExitStack() as parts:
        yield Stages(tmp_path_factory.mktemp("faults"), parts)


SHORT_ROWS = [
    pytest.param(group, row, id=row.id) for group, rows in GROUPS.items() for row in rows if row.id not in LONG_ONLY
]


@pytest.mark.parametrize(("group", "row"), SHORT_ROWS)
async def test_row(stages: Stages, group: str, row: Row) -> None:
    """The row with this id in the fault matrix; its pass conditions are in its docstring."""
    reason = network.missing() if row.cuts else ""
    if reason:
        pytest.skip(f"{row.id} was NOT PLAYED, no network namespaces: {reason}")
    one = await play(row, 0, await stages.of(group), SHORT)
    print(f"{row.id}: {one.seconds} s, {dict(one.figures)}, {one.notes}")
    for text in one.late:
        print(f"{row.id} was late: {text}")
    assert one.failures == []
