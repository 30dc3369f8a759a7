"""Numbers every change of a silo, so that a change whose answer was lost is known again. Called by `state.py`."""

from __future__ import annotations

import itertools

from grange.proto.ids import SiloAddress
from grange.storage.provider import Stamp


class Stamps:
    """The stamps of one silo, each given out once: the generation makes them differ from those of its former lives."""

    def __init__(self, silo: SiloAddress) -> None:
        self._silo = silo
        self._numbers = itertools.count(1)

    def next(self) -> Stamp:
        """A stamp that no other change has."""
        return Stamp(self._silo, next(self._numbers))
