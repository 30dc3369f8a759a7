"""Build a whole cluster inside one test, and prove a provider of your own.

Called by tests: ours and those of anyone who writes grains or providers; never by the running system. Open
`cluster.py` first for a cluster in one process, `simulation/simulation.py` for one under the faults of a seed,
`checks/history.py` for what judges recorded calls, `contracts/` for the suites that every provider passes,
`servers.py` for real Redis and Postgres servers that a test session starts for itself.
"""

from grange.testing.cluster import TestCluster
from grange.testing.simulation.simulation import Simulation

__all__ = ["Simulation", "TestCluster"]
