"""Runs grains: finds or creates their activations, orders their turns, and ends them. Open `catalog.py` first.

A request passes `catalog.py`, `activation.py` and `invoker.py`. `mailbox.py` (pure) decides which requests may
interleave. `lifecycle.py` begins and ends an activation, `hosted.py` describes its class, `timers.py` makes its ticks,
`phase.py` names its phases, `deps.py` what all of them share, `workers.py` keeps stateless workers, `collector.py` ends
idle activations, and `draining.py` ends all of them when the silo stops. `migration.py` moves one to another silo,
`moves.py` has the contract of the part that carries it.
"""
