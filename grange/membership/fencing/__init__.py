"""Self-fence: a silo starts no turns when it has no recent proof that it is still a member of its cluster.

Called by `agent.py`. Open `fence_state.py` first (pure): it decides when the gate closes and opens. `proofs.py` (pure)
defines the proofs, `self_fence.py` runs the rest.
"""
