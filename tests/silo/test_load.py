"""The load of a silo: the largest of its parts, which is its cause."""

from __future__ import annotations

import pytest

from grange.observability.histogram import Histogram
from grange.observability.snapshot import ProcessSnapshot
from grange.silo.load import WINDOW, LoadMeter


def process(cpu: float = 0, rss: int = 0, limit: int = 0, cores: float = 1) -> ProcessSnapshot:
    return ProcessSnapshot(cpu=cpu, rss=rss, memory_limit=limit, cores=cores)


def test_processor_time_counts_against_the_cores_that_it_may_use() -> None:
    meter, lag = LoadMeter(100), Histogram()
    meter.measure(0, process(cores=0.5), lag.frozen(), 0)
    load = meter.measure(10, process(cpu=4, cores=0.5), lag.frozen(), 0)
    assert (load.cause, load.value) == ("cpu", pytest.approx(0.8))


def test_the_lag_of_the_loop_counts_against_200_ms() -> None:
    meter, lag = LoadMeter(100), Histogram()
    meter.measure(0, process(), lag.frozen(), 0)
    for _ in range(50):
        lag.observe(0.4)
    load = meter.measure(10, process(), lag.frozen(), 0)
    assert load.cause == "lag"
    assert 1.25 <= load.value <= 2.5  # within the cell of 250 to 500 ms


def test_requests_count_against_the_admission_limit() -> None:
    load = LoadMeter(100).measure(0, process(rss=1, limit=10), Histogram().frozen(), 90)
    assert (load.cause, load.value, load.parts["memory"]) == ("requests", 0.9, 0.1)


def test_memory_counts_against_its_limit() -> None:
    load = LoadMeter(100).measure(0, process(rss=8, limit=10), Histogram().frozen(), 10)
    assert (load.cause, load.value) == ("memory", 0.8)


def test_a_burst_is_forgotten_after_the_window() -> None:
    meter, lag = LoadMeter(100), Histogram()
    meter.measure(0, process(), lag.frozen(), 0)
    lag.observe(5)
    assert meter.measure(1, process(cpu=1), lag.frozen(), 0).value > 1
    for second in range(2, 20):
        load = meter.measure(second, process(cpu=1), lag.frozen(), 0)
    assert load.value == 0
    assert WINDOW < 18
