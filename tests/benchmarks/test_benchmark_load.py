"""The loops count what they call; how fast is nobody's business here."""

import pytest

from benchmarks.contestants import load


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
    import asyncio

    called = set()

    def caller(index):
        async def call(number):
            called.add(index)
            await asyncio.sleep(0)

        return call

    sample = await load.throughput([caller(index) for index in range(3)], 0.01)
    assert called == {0, 1, 2}
    assert sample["value"] > 0
    assert sample["calls"] >= 3
