"""The silos that placement avoids for a moment, because this silo could not reach them. Pure.

A silo whose connection has broken may be dead, and the other silos learn of a death a moment later. A new grain that is
placed there would wait for that.
"""

from __future__ import annotations

from collections.abc import Callable

from grange.proto.ids import SiloAddress

AVOID_FOR = 2.0
"""Seconds; by then a silo whose process has ended was declared dead. A silo that lives takes new grains again."""


class Avoided:
    """The avoided silos of one silo. Empty in a healthy cluster. `clock`: seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[SiloAddress, float] = {}

    def add(self, silo: SiloAddress) -> None:
        """This silo could not be reached now: its connection broke, it refused one, or it takes no calls."""
        self._until[silo] = self._clock() + AVOID_FOR

    def among(self, silos: tuple[SiloAddress, ...]) -> tuple[SiloAddress, ...]:
        """Those of these silos that are not avoided; all of them if none is left."""
        if not self._until:
            return silos
        now = self._clock()
        self._until = {silo: until for silo, until in self._until.items() if until > now}
        return tuple(silo for silo in silos if silo not in self._until) or silos
