"""Build a whole cluster inside one test, and prove a provider of your own.

Called by tests: ours and those of anyone who writes grains or providers; never by the running system. Open
`cluster.py` first for a cluster in one process, `simulation/simulation.py` for one under the faults of a seed,
`checks/history.py` for what judges recorded calls, `contracts/` for the suites that every provider passes. Real Redis
and Postgres servers for a test session come from the room `servers` and are offered here.
"""

from grange.servers.postgres import PostgresServer, postgres_server
from grange.servers.redis import RedisServer, redis_server
from grange.testing.cluster import TestCluster
from grange.testing.simulation.simulation import Simulation

__all__ = ["PostgresServer", "RedisServer", "Simulation", "TestCluster", "postgres_server", "redis_server"]
