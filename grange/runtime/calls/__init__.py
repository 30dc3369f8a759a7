"""Carries one call to a silo and its answer back. Open `caller.py` first.

Out: `caller.py` (the one retry loop), `outgoing.py` (here or there), `sender.py` (request and pending answer).
In: `inbound.py` (the connections), `incoming.py` (what one brings), `wire_call.py` (one request), `admission.py`
(how much may come in). Both ends lead to `activations/catalog.py`.
"""
