"""Filters run around the beginning of a streamed method, once for each call; its items pass them by (FLT, AEN)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from grange import Call, Filter, Grain, Proceed
from grange.testing.cluster import TestCluster


class Counts(Grain):
    async def numbers(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number


async def listed(cluster: TestCluster, count: int) -> list[int]:
    return [number async for number in cluster.silos[0].get_grain(Counts, "a").numbers(count)]


@pytest.mark.parametrize("direction", ["incoming", "outgoing"])
async def test_filters_see_one_call_for_each_enumeration(direction: str) -> None:
    """Its further requests are no calls; arguments may be changed, and the whole may be refused."""
    seen: list[str] = []

    async def look(call: Call, proceed: Proceed) -> Any:
        seen.append(f"{call.direction} {call.method} {dict(call.arguments)}")
        if call.args[0] < 0:
            raise PermissionError("no")
        call.replace(count=call.args[0] + 1)
        return await proceed()

    filters: dict[str, Any] = {f"{direction}_filters": [look]}
    async with TestCluster([Counts], silos=2, **filters) as cluster:
        assert await listed(cluster, 250) == list(range(251))
        assert seen == [f"{direction} numbers {{'count': 250}}"]
        with pytest.raises(PermissionError, match=r"^no$"):
            await listed(cluster, -1)


async def forget_return(call: Call, proceed: Proceed) -> Any:
    await proceed()


async def other_items(call: Call, proceed: Proceed) -> Any:
    return [1, 2]


@pytest.mark.parametrize("direction", ["incoming", "outgoing"])
@pytest.mark.parametrize("each", [forget_return, other_items])
async def test_a_filter_cannot_replace_the_items(direction: str, each: Filter) -> None:
    filters: dict[str, Any] = {f"{direction}_filters": [each]}
    async with TestCluster([Counts], silos=1, **filters) as cluster:
        with pytest.raises(TypeError, match=r"must return what proceed\(\) returned"):
            await listed(cluster, 3)
