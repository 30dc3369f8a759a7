"""The request context follows the call chain down, and never flows back up (RCX)."""

from __future__ import annotations

import asyncio

import pytest

from grange import Grain, request_context
from grange.testing.cluster import TestCluster


class Asked(Grain):
    async def read(self, key: str) -> int | None:
        value = request_context.get(key)
        assert value is None or isinstance(value, int)
        return value

    async def everything(self) -> dict[str, int]:
        return {key: value for key, value in request_context.items() if isinstance(value, int)}

    async def deep(self, key: str, levels: int) -> int | None:
        async def later() -> int | None:
            await asyncio.sleep(0.1)
            if levels == 0:
                return await self.read(key)
            return await self.get_grain(Asked, f"level-{levels}").deep(key, levels - 1)

        return await asyncio.create_task(later())

    async def overwrite(self, key: str) -> None:
        request_context[key] = 99


async def test_the_callee_reads_a_value_of_its_caller() -> None:
    """RCX-01: the caller sets it and the grain reads it, in remote and local calls."""
    async with TestCluster([Asked]) as cluster:
        request_context["answer"] = 10
        assert await cluster.get_grain(Asked, "a").read("answer") == 10
        for silo in cluster.silos:
            assert await silo.get_grain(Asked, "a").read("answer") == 10


async def test_a_value_flows_on_through_grains_awaits_and_tasks() -> None:
    """RCX-02: through several grains and silos, after awaits, and in tasks that a method starts."""
    async with TestCluster([Asked], silos=3) as cluster:
        request_context["answer"] = 10
        assert await cluster.get_grain(Asked, "a").deep("answer", 5) == 10


async def test_each_call_carries_the_values_set_when_it_is_made() -> None:
    """RCX-04: values are replaced, removed and set again. Without values the context is empty, also after a call."""
    async with TestCluster([Asked]) as cluster:
        grain = cluster.get_grain(Asked, "a")
        assert await grain.everything() == {}
        request_context["id"] = 1
        assert await grain.everything() == {"id": 1}
        del request_context["id"]
        assert await grain.everything() == {}
        request_context["id"] = 2
        assert await grain.read("id") == 2
        request_context["id"] = 1
        assert await grain.read("id") == 1
        assert dict(request_context) == {"id": 1}


async def test_concurrent_tasks_keep_their_own_values() -> None:
    """RCX-05: twenty tasks, each with its own value across many hops."""
    async with TestCluster([Asked], silos=3) as cluster:

        async def one(number: int) -> int | None:
            request_context["id"] = number
            return await cluster.get_grain(Asked, f"g{number}").deep("id", 3)

        assert await asyncio.gather(*(one(number) for number in range(20))) == list(range(20))


async def test_a_callees_changes_do_not_reach_its_caller() -> None:
    """The context never flows back up, not even in a local call."""
    async with TestCluster([Asked], silos=1) as cluster:
        request_context["id"] = 1
        await cluster.silos[0].get_grain(Asked, "a").overwrite("id")
        assert request_context["id"] == 1


def test_bad_values_are_refused() -> None:
    """Only scalars are allowed, and names of the runtime are reserved."""
    with pytest.raises(TypeError, match="list"):
        request_context["x"] = [1]  # type: ignore[assignment]
    with pytest.raises(ValueError, match="reserved for the runtime"):
        request_context["grange.caller"] = "me"
