"""One file per contestant: the program that a benchmark process runs.

`benchmarks/processes.py` starts each under the interpreter of its own virtual environment. So a contestant imports only
the standard library, `worker.py`, `load.py` and the package that it measures. Open `worker.py` first: it is
the protocol between such a process and the harness. `load.py` has the loops that time every contestant.
"""
