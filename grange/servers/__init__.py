"""Real Redis and Postgres servers that this process starts, on free ports, for development and tests.

`grange.testing` offers them to tests, and benchmarks use them; a running silo never does. Open `process.py` first: it
starts, kills and restarts a server program on one port.
"""
