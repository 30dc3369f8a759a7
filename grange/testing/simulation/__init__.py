"""A whole cluster in one thread and virtual time, under seeded faults, checked by `grange.testing.checks`.

Called by tests and by `make simulate`. Open `simulation.py` first: the steps of a run. `loop.py` is the scheduler.
`network.py`, `connection.py` and `transport.py` are the network, `databases.py` the databases. `machine.py` runs and
restarts silos, `workloads/` make calls, `nemesis.py` injects faults, `invariants.py` checks the run, `event_log.py` and
`turns.py` record it. `campaign.py` runs many seeds.
"""

from grange.testing.simulation.simulation import Load, Result, Simulation

__all__ = ["Load", "Result", "Simulation"]
