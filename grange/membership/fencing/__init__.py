"""Self-fence: stops turns on this silo when nothing proves that the cluster still counts on it.

Called by `agent.py`. Open `proofs.py` first (pure), then `self_fence.py`.
"""
