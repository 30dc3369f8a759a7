"""Runs grains: finds or creates their activations, orders their turns, and ends them. Open `catalog.py` first.

A request passes `catalog.py`, `activation.py` (with `mailbox.py`) and `invoker.py`. `lifecycle.py` begins and ends an
activation, `hosted.py` describes its class, `timers.py` makes its ticks. `workers.py` keeps stateless workers,
`collector.py` ends idle activations, `draining.py` ends all of them when the silo stops.
"""
