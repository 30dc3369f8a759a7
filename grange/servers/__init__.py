"""A real Redis or Postgres of our own on a free port, for development and for tests.

Called by `grange.testing`, which offers these servers to tests, and by benchmarks; never by a running silo. Open
`process.py` first: a server program that is started, killed and started again on one port.
"""
