"""Carries one call to a silo and its answer back. Open `caller.py` first.

Out: `caller.py` (the usual call, and the one retry loop), `link.py` (requests and pending answers of a connection),
`sender.py` (requests to known silos), `outgoing.py` (an unusual call: here or there).
In: `inbound.py` (the connections), `incoming.py` (what one brings), `wire_call.py` (one request), `admission.py`
(how much may come in), `backlog.py` (when it may start). Both ends lead to `activations/catalog.py`.
"""
