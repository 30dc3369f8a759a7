"""A whole cluster in one thread and virtual time, under faults that a seed draws, judged by `grange.testing.checks`.

Called by tests and by `make simulate`. Open `simulation.py` first: the course of a run. `loop.py` is the scheduler,
`network.py`, `connection.py` and `transport.py` the network, `stores.py` the databases, `host.py` a machine on which
silos live and die, `workload.py` who calls what, `nemesis.py` what goes wrong, `verdict.py` what must hold.
"""

from grange.testing.simulation.simulation import Load, Result, Simulation

__all__ = ["Load", "Result", "Simulation"]
