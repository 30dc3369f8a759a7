"""Membership: which silos form the cluster, and how each silo learns it. Built by `silo/`, which gets a view of it.

Open `model/member.py` first (members, statuses, views), then `model/provider.py` (the table's contract), then
`agent.py`, which owns every task of the protocol and calls its parts in order. `join.py` brings a silo in;
`urls.py` opens the table by its URL.

- `model/`: the values and the contract of the table (pure).
- `providers/`: the table on memory, SQLite, Redis and Postgres.
- `table/`: reads and changes the table, keeps views fresh, repairs the table, rebuilds it after a loss.
- `detection/`: probes, adaptive time-outs, local health, gossip and votes.
- `fencing/`: stops turns when this silo has no recent proof of membership.

A sub-room imports only those named above it in this list; `.importlinter` holds that.
"""
