"""One file per contestant: the program that a benchmark process runs.

Started by `benchmarks/processes.py`, each under the interpreter of its own virtual environment. So they
import nothing but the standard library, `worker.py`, `load.py` and the one package they measure. `worker.py`
is the protocol between such a process and the harness; open it first. `load.py` holds the loops that every
contestant is timed with.
"""
