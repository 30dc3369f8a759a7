"""Where each grain lives: one entry per activation, spread over the active silos by the hash ring.

`runtime/caller.py` asks `locator.py` where to send; `runtime/catalog.py` claims through it; `silo/startup.py` builds
all of it as one `ClusterDirectory` (`cluster.py`: open it first). Files that only decide are marked (pure).

- a question's way: `locator.py` with `cache.py` (pure), `partitioned.py` (the asker), `questions.py` and
  `messages.py` (pure), `service.py` (the owner), `partition.py` (what the slice decides, pure) over `entries.py` and
  `ranges.py` (pure);
- what follows from a view: `topology.py` (pure), `current.py`;
- a range changes its owner: `gaining.py` asks the old owner, whose side is `handover.py` with `snapshots.py` (pure);
  if it is dead, `recovery.py` asks the hosts, each of which has `hosted.py` (pure);
- a silo dies: `holding.py` with `holds.py` (pure) keeps its grains from being registered too early;
- what is wrong is found: `sweep.py` and `detector.py` compare the slice with what silos run, `duplicates.py` ends the
  second;
- joints: `provider.py` (the contract), `slice.py`, `wiring.py`, `options.py`, `aio/signal.py`.
"""
