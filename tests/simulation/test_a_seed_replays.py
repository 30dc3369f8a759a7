"""The same seed gives the same event log: when repeated, and in another process with another hash seed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from grange.testing import Simulation

ALL_HASHES = """
from grange.testing.simulation import Simulation
print(*(Simulation(seed, minutes=1.5, calm=3).run().hash for seed in range(3)))
"""


def hash_of(seed: int) -> str:
    return Simulation(seed, minutes=1.5, calm=3).run().hash


@pytest.mark.parametrize("seeds", [range(number, number + 5) for number in (0, 5, 10, 15)], ids=str)
def test_one_hundred_of_one_hundred_replays_are_equal(seeds: range) -> None:
    """Five replays of each of twenty seeds."""
    for seed in seeds:
        first = hash_of(seed)
        assert [hash_of(seed) for _ in range(5)] == [first] * 5, f"seed {seed}"


def test_another_process_with_another_hash_seed_gives_the_same_log() -> None:
    here = [hash_of(seed) for seed in range(3)]
    for hash_seed in ("1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        there = subprocess.run([sys.executable, "-c", ALL_HASHES], env=environment, capture_output=True, text=True)
        assert there.stdout.split() == here, there.stderr


def test_another_seed_gives_another_log() -> None:
    assert len({hash_of(seed) for seed in range(3)}) == 3
