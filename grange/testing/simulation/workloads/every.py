"""All workloads of a simulation, in the order in which they start."""

from __future__ import annotations

from grange.testing.simulation.workloads.callers import Callers
from grange.testing.simulation.workloads.contract import Workload
from grange.testing.simulation.workloads.counters import Counters
from grange.testing.simulation.workloads.movers import Movers
from grange.testing.simulation.workloads.observers import Observers
from grange.testing.simulation.workloads.registers import Registers
from grange.testing.simulation.workloads.releases import Releases

EVERY: tuple[type[Workload], ...] = (Counters, Registers, Movers, Callers, Releases, Observers)
"""What a simulation runs by default."""
