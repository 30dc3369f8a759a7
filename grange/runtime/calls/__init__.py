"""Carries one call to a silo and its answer back. Open `caller.py` first.

Out: `caller.py` (the one retry loop), `outgoing.py` (here or there), `sender.py` (request and pending answer).
In: `inbound.py` (what a connection brings). Both ends lead to `activations/catalog.py`.
"""
