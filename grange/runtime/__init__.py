"""Makes calls, takes calls and runs activations. It has no cluster code: rooms above pass in a locator and claims.

`calls/` carries a request from a caller to a silo and its answer back. `activations/` turns requests into turns of
grains. `requests/` holds the parts of one request that both use. `options.py`, `locator.py`, `system_target.py` and
`gate.py` are the contracts with other rooms.

Open `calls/caller.py` first and follow one call down: caller, outgoing, sender, (the wire), inbound, catalog,
activation, invoker.
"""
