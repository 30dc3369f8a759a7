"""Reads the totals back from the grains, and compares them with the expected totals."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from examples.flights.aircraft import Aircraft
from examples.flights.airport import Airport
from examples.flights.carrier import Carrier
from examples.flights.feeder import GrainFactory

KINDS: dict[str, type[Aircraft | Airport | Carrier]] = {"aircraft": Aircraft, "airport": Airport, "carrier": Carrier}
AT_ONCE = 128
"""Grains that are read at the same time."""

Totals = dict[str, dict[str, dict[str, Any]]]
"""Kind of grain, then key, then totals as plain values."""


async def read_totals(grains: GrainFactory, wanted: Totals) -> Totals:
    """Ask each of these grains for its totals."""
    found: Totals = {kind: {} for kind in wanted}
    waiting = iter([(kind, key) for kind, keys in wanted.items() for key in keys])

    async def read() -> None:
        for kind, key in waiting:
            totals = await grains.get_grain(KINDS[kind], key).totals()
            found[kind][key] = msgspec.to_builtins(totals)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(read())
    return found


@dataclass(frozen=True)
class Difference:
    """One total of one grain that differs from the expected value."""

    kind: str
    key: str
    total: str
    expected: object
    found: object

    def __str__(self) -> str:
        return f"{self.kind} {self.key}, {self.total}: {self.found} instead of {self.expected}"


@dataclass(frozen=True)
class Comparison:
    """`compared` totals of `grains` grains: flights lost or doubled in any of them, and all differences."""

    grains: int
    compared: int
    lost: int
    doubled: int
    differences: tuple[Difference, ...]

    def with_also(self, differences: tuple[Difference, ...]) -> Comparison:
        """The same with further differences."""
        return replace(self, differences=(*self.differences, *differences))


def compare(expected: Totals, found: Totals) -> Comparison:
    """Compare every total of every grain. A grain or total that only one side has is also a difference."""
    wanted, had = dict(_flat(expected)), dict(_flat(found))
    places = list(dict.fromkeys((*wanted, *had)))
    differences = tuple(
        Difference(*place, wanted.get(place), had.get(place)) for place in places if wanted.get(place) != had.get(place)
    )
    counts = [each for each in differences if each.total.split(".")[-1] == "flights"]
    excess = [(each.found or 0) - (each.expected or 0) for each in counts]  # type: ignore[operator]
    return Comparison(
        grains=len({place[:2] for place in places}),
        compared=len(places),
        lost=-sum(number for number in excess if number < 0),
        doubled=sum(number for number in excess if number > 0),
        differences=differences,
    )


def _flat(totals: Totals) -> Iterator[tuple[tuple[str, str, str], object]]:
    for kind, keys in totals.items():
        for key, record in keys.items():
            for path, value in _leaves(record):
                yield (kind, key, path), value


def _leaves(value: object, path: str = "") -> Iterable[tuple[str, object]]:
    if isinstance(value, dict):
        return [leaf for name, part in value.items() for leaf in _leaves(part, f"{path}.{name}" if path else name)]
    if isinstance(value, list):
        return [leaf for place, part in enumerate(value) for leaf in _leaves(part, f"{path}[{place}]")]
    return [(path, value)]
