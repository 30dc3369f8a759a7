"""The grain directory: one entry per activation, spread over the active silos by the hash ring.

`runtime/caller.py` asks `locator.py` where to send a call. `runtime/catalog.py` claims activations through it.
`silo/startup.py` builds all of it as one `ClusterDirectory`. Open `cluster.py` first.

- An operation goes from `locator.py` (with `cache.py`, pure) to `directory_client.py` (the caller's side), then to
  `service.py` on the owner of the range.
- A view change arrives at `cluster.py` and goes to `service.py`, which starts the transfers and the death holds.
- `slice/`: the part of the directory that one silo owns, and the pure files that decide each registration.
- `transfer/`: moves a range to its new owner when the view changes.
- `repair/`: compares the directory with the silos' activations, and repairs differences and duplicates.
- `provider.py` is the contract; `options.py` has every number.
"""
