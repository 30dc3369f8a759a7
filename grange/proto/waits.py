"""Which request waits for which, as one silo tells it to another: question and answer of a system target. Pure."""

from __future__ import annotations

import enum

import msgspec

from grange.proto.ids import SiloAddress

WAITS = "runtime.waits"
"""The name of the system target. It is on the wire."""


class Detects(enum.StrEnum):
    """What happens to a request that waits in a cycle (`detect_deadlocks=`)."""

    ON = "on"  # it is refused, with DeadlockError
    WARN = "warn"  # it waits on, and the cycle is reported
    OFF = "off"  # nothing


class Arrival(msgspec.Struct, array_like=True, frozen=True):
    """A request by the numbers of its wire: silo `to` got it from silo `source`, with this id."""

    source: SiloAddress
    to: SiloAddress
    id: int


class Wait(msgspec.Struct, array_like=True, frozen=True):
    """One node, as its silo sees it.

    name: unique in its silo. waits: it waits for its turn; else its turn, or the hook, runs. here: the nodes of the
    same silo that it waits for; there: those of other silos. detects: what to do with it if it waits in a cycle.
    held_back: it waits only behind writers that wait themselves, and may overtake them.
    """

    name: str
    grain: str
    method: str
    waits: bool = False
    here: list[str] = []
    there: list[Arrival] = []
    detects: Detects = Detects.ON
    held_back: bool = False


class WaitsQuestion(msgspec.Struct, array_like=True, frozen=True):
    """Question: what do these requests wait for, which arrived at you?"""

    arrivals: list[Arrival]


class WaitsAnswer(msgspec.Struct, array_like=True, frozen=True):
    """Answer: the names of the nodes that these requests are, in order (empty: unknown), and all that follows there."""

    names: list[str]
    waits: list[Wait]
