"""The grain directory: one entry per activation, spread over the active silos by the hash ring.

`runtime/calls/caller.py` asks `locator.py` where to send a call. `runtime/activations/catalog.py` claims activations
through it. `silo/preparing.py` builds all of it as one `ClusterDirectory`. Open `cluster.py` first. `provider.py` is
the contract; `options.py` has every number. The files in order, for each thing that happens:

- A look-up or a registration: `locator.py` (with `cache.py`), `directory_client.py` on the caller's silo, `service.py`
  on the owner, and `slice/partition.py`, which decides.
- A call to an observer: `client_locator.py` finds the silo to which its client is connected.
- A view change: `cluster.py`, `slice/topology.py` (the facts of the view), `service.py`, and `slice/partition.py`,
  which seals lost ranges and names the gained ones.
- A hand-over: `transfer/acquisition.py` on the new owner fetches from `transfer/handover.py` on the previous one.
- A recovery, if no silo can hand over: `transfer/recovery.py` on the new owner asks the same file on every live silo.
  `slice/local_registrations.py` finds the registrations that an answer could not contain.
- A death: `service.py`, `slice/hold_timers.py` (the clock) and `slice/holds.py` (which grains are held).
- Repair: `repair/consistency_checker.py` compares the directory with the silos' activations, `repair/sweep.py` removes
  stale entries, and `repair/duplicates.py` ends second activations.
"""
