"""Where each grain lives: one entry per activation, spread over the active silos by the hash ring.

`runtime/calls/caller.py` asks `locator.py` where to send; `runtime/activations/catalog.py` claims through it;
`silo/startup.py` builds all of it as one `ClusterDirectory`. Open `cluster.py` first.

- A question goes from `locator.py` (with `cache.py`, pure) to `partitioned.py` (the silo that asks) to `service.py`
  (the silo that owns the range).
- `slice/`: what one silo owns of the directory, and the pure files that decide each registration.
- `transfer/`: a range changes its owner when the view changes.
- `repair/`: the directory is compared with what silos run; differences and duplicates are repaired.
- `provider.py` is the contract, `options.py` has every number.
"""
