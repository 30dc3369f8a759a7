"""Makes calls, takes calls and runs activations. It knows no cluster: rooms above give it a locator and claims.

`calls/` carries a request from a caller to a silo and its answer back. `activations/` turns requests into turns of
grains. `requests/` holds what both need of one request. Beside them stand the contracts that other rooms use:
`options.py`, `locator.py`, `system_target.py` and `gate.py`.

Open `calls/caller.py` first and follow one call down: caller, outgoing, sender, (the wire), inbound, catalog,
activation, invoker.
"""
