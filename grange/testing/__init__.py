"""Runs a whole cluster inside one test, and tests providers.

Called by the tests of grange, and by those of authors of grains and providers; never by the running system. Open
`cluster.py` first: a cluster in one process. `unit.py` gives one grain an identity without a cluster.
`samples.py` keeps what types of state have
stored. `simulation/simulation.py` is a cluster under seeded faults. `checks/` records and checks histories of calls.
`contracts/` holds the test suites that every provider must pass. The room `servers` starts real Redis and Postgres
servers for a test session; this room re-exports its functions.
"""

from grange.servers.postgres import PostgresServer, postgres_server
from grange.servers.redis import RedisServer, redis_server
from grange.testing.cluster import TestCluster
from grange.testing.samples import check_stored_samples
from grange.testing.simulation.simulation import Simulation
from grange.testing.unit import TestContext, TestTimer

__all__ = [
    "PostgresServer",
    "RedisServer",
    "Simulation",
    "TestCluster",
    "TestContext",
    "TestTimer",
    "check_stored_samples",
    "postgres_server",
    "redis_server",
]
