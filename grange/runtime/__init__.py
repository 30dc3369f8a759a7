"""Makes calls, takes calls, runs activations. It knows no cluster: rooms above give it a locator and claims.

Open `caller.py` first and follow one call down: caller, sender, (the wire), inbound, catalog, activation, invoker.
"""
