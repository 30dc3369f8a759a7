"""Which workloads a simulation runs."""

from __future__ import annotations

import random

from grange.testing.simulation.workloads.alarms import Alarms
from grange.testing.simulation.workloads.callers import Callers
from grange.testing.simulation.workloads.contract import Workload
from grange.testing.simulation.workloads.counters import Counters
from grange.testing.simulation.workloads.ledgers import Ledgers
from grange.testing.simulation.workloads.movers import Movers
from grange.testing.simulation.workloads.observers import Observers
from grange.testing.simulation.workloads.readers import Readers
from grange.testing.simulation.workloads.registers import Registers
from grange.testing.simulation.workloads.releases import Releases
from grange.testing.simulation.workloads.strugglers import Strugglers
from grange.testing.simulation.workloads.tills import Tills
from grange.testing.simulation.workloads.vaults import Vaults

Workloads = tuple[type[Workload], ...]
"""Classes of workloads."""

ALWAYS: Workloads = (Counters, Registers)
"""Run with every seed: what they check, any fault may break."""

OTHERS: Workloads = (Movers, Callers, Releases, Observers, Readers, Strugglers, Alarms, Ledgers, Tills)
"""Of these each seed draws some."""

DRAWN = 2
"""Number of the others in one simulation. All at once would leave each little to do, and take twice as long."""


GUARDED = 0.3
"""Share (0 to 1) of the simulations with vaults, beside the others. The rules for callers hold in all."""


def drawn(rng: random.Random) -> Workloads:
    """The workloads of one simulation, in the order in which they start.

    Seeds that leave out different parts find more than seeds that all have every part (Groce et al., Swarm Testing,
    2012).
    """
    others = rng.sample(OTHERS, DRAWN)
    return (*ALWAYS, *others, Vaults) if rng.random() < GUARDED else (*ALWAYS, *others)
