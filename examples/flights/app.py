"""The silo of this example: `grange run examples.flights.app:silo`, or `grange dev examples.flights.app:silo`."""

from __future__ import annotations

from examples.flights.aircraft import Aircraft
from examples.flights.airport import Airport
from examples.flights.carrier import Carrier
from grange.silo import Silo

silo = Silo(grains=[Aircraft, Airport, Carrier])
