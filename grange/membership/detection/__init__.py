"""Failure detection: probes other silos, measures this silo's own health, and votes.

Called by `agent.py`. Open `prober.py` first; `detector.py` (pure) decides when a silo is suspected;
`model/votes.py` decides when votes make a death.
"""
