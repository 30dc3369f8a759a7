"""The loops count their calls; these tests do not judge their speed."""

import asyncio

import pytest

from benchmarks.contestants import load
from grange.testing.loop import VirtualTime


def test_percentiles_are_nearest_ranks():
    ordered = list(range(1, 101))
    assert load.percentile(ordered, 0.0) == 1
    assert load.percentile(ordered, 1.0) == 100
    assert abs(load.percentile(ordered, 0.5) - 50) <= 1


def test_a_percentile_of_nothing_says_what_to_do():
    with pytest.raises(ValueError, match="more seconds"):
        load.percentile([], 0.5)


async def test_activation_calls_each_key_once():
    keys = []

    async def first_call(number):
        keys.append(number)

    sample = await load.activation(first_call, 5)
    assert keys == [-1, 0, 1, 2, 3, 4]
    assert sample["activations"] == 5


async def test_throughput_runs_one_caller_per_call():
    """In virtual time: on a busy machine the real time may pass without a single call."""
    called = set()

    def caller(index):
        async def call(number):
            called.add(index)
            await asyncio.sleep(0.001)

        return call

    with VirtualTime(asyncio.get_running_loop()).installed():
        sample = await load.throughput([caller(index) for index in range(3)], 1)
    assert called == {0, 1, 2}
    assert sample["value"] == pytest.approx(3_000, rel=0.01)
    assert sample["calls"] >= 3
