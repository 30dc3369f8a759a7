"""Answers about waits come late: only a cycle that was really there refuses a call."""

from __future__ import annotations

import asyncio

import msgspec

from grange import DeadlockError, Grain
from grange.proto.ids import SiloAddress
from grange.proto.waits import WAITS, Arrival, WaitsAnswer
from grange.silo.silo import Silo
from grange.testing import TestCluster


class Desk(Grain):
    async def wait_for(self, other: str, seconds: float) -> str:
        return await self.get_grain(Desk, other).sleep(seconds)

    async def sleep(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return self.key

    async def ask(self, other: str) -> str:
        try:
            return await self.get_grain(Desk, other).sleep(0)
        except DeadlockError as error:
            return str(error)


async def outcomes(false_answers: int, late: bool = False) -> tuple[bool, str]:
    """Desk a waits for b, and c for a: no cycle. For some looks, the silo of b says that b waits for the call of c.

    `late`: the last of these answers comes when the turn of a has ended, and the call of c waits for another one.
    Returns whether the call of a succeeded, and the answer that c got from a, or the error.
    """
    async with TestCluster(grains=[Desk], silos=2) as cluster:
        one, two = cluster.silos
        a, b, c = await _key_at(cluster, one, 0), await _key_at(cluster, two, 0), await _key_at(cluster, two, 1)
        first = asyncio.ensure_future(cluster.get_grain(Desk, a).wait_for(b, 5))
        await cluster.advance(0.1)
        between = asyncio.ensure_future(cluster.get_grain(Desk, a).sleep(3 if late else 0))
        await cluster.advance(0.1)
        second = asyncio.ensure_future(cluster.get_grain(Desk, c).ask(a))
        await cluster.advance(0.1)
        detector = one._here("").deadlocks
        truth = detector._ask
        left = false_answers

        async def ask(silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
            nonlocal left
            if service == WAITS and late and not left:
                await first  # the second question of the last false look
            answer = msgspec.msgpack.decode(await truth(silo, service, question, timeout), type=WaitsAnswer)
            if service == WAITS and left:
                left -= 1
                false = [Arrival(two.address, one.address, _call_of(one, two))]
                if late and not left:
                    false.append(Arrival(one.address, two.address, 10**9))  # another question follows
                answer = WaitsAnswer(
                    answer.names, [msgspec.structs.replace(each, there=false) for each in answer.waits]
                )
            return msgspec.msgpack.encode(answer)

        detector._ask = ask
        answers = await asyncio.gather(first, second, between)
        assert left == 0
        return answers[0] == b, "a" if answers[1] == a else answers[1]


async def test_a_cycle_of_one_look_is_not_believed() -> None:
    assert await outcomes(false_answers=1) == (True, "a")


async def test_a_cycle_of_two_looks_is_believed() -> None:
    """So the test before tests what it says."""
    succeeded, error = await outcomes(false_answers=2)
    assert succeeded
    assert "waits for itself" in error


async def test_a_call_that_waits_for_another_turn_by_then_is_not_refused() -> None:
    assert await outcomes(false_answers=2, late=True) == (True, "a")


async def _key_at(cluster: TestCluster, silo: Silo, skip: int) -> str:
    """The key of a grain that lives in this silo."""
    for number in range(1000):
        await cluster.get_grain(Desk, f"k{number}").sleep(0)
        if any(grain_id.key == f"k{number}" for grain_id in silo._here("").hosting.catalog.targets):
            if not skip:
                return f"k{number}"
            skip -= 1
    raise AssertionError


def _call_of(one: Silo, two: Silo) -> int:
    """The id of the request from `two` that waits in `one`."""
    (number,) = [
        number
        for incoming in one._here("").hosting.silo_inbound.connected
        if incoming.opened_by(two.address)
        for number, call in incoming._calls.items()
        if call.method == "sleep"
    ]
    return number
