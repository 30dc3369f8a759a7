"""Observability: figures, events and traces of this process. The runtime and the features report to it.

`trace.py` has the trace context that travels with every call. Open it first for traces.
"""
