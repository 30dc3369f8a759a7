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
    assert sample["calls"] == 6


async def virtual_throughput(callers, argument=b""):
    """Measure one second of virtual time: on a busy machine the real time may pass without a single call."""
    got = []

    def caller(index):
        async def call(value):
            got.append((index, value))
            await asyncio.sleep(0.001 * (1 + index))

        return call

    loop = asyncio.get_running_loop()
    with VirtualTime(loop).installed():
        clock = lambda: round(loop.time() * 1e9)  # noqa: E731
        sample = await load.throughput([caller(index) for index in range(callers)], 1, argument, clock)
    return sample, got


async def test_throughput_runs_one_caller_per_call():
    sample, got = await virtual_throughput(2)
    assert {index for index, _ in got} == {0, 1}
    assert sample["value"] == pytest.approx(1_500, rel=0.02)
    assert sample["calls"] == len(got)
    assert [value for index, value in got if index == 1][:3] == [0, 1, 2]


async def test_throughput_has_the_percentiles_of_the_time_a_call_takes():
    sample, _ = await virtual_throughput(2)
    assert sample["p50"] == pytest.approx(1)
    assert sample["p99"] == sample["p99.9"] == pytest.approx(2)


async def test_an_argument_replaces_the_number():
    _, got = await virtual_throughput(1, b"xy")
    assert {value for _, value in got} == {b"xy"}


async def test_a_measurement_without_an_answer_in_its_time_waits_for_one():
    async def call(value):
        await asyncio.sleep(0)

    ticks = iter(range(0, 10**12, 10**9))
    sample = await load.throughput([call], 0.001, clock=lambda: next(ticks))
    assert sample["calls"] == 1
    assert sample["p50"] == pytest.approx(1000)
