"""Who is in the cluster, and how a silo knows. Called by the silo's start-up; publishes views to the rooms above.

Open `model/member.py` first (members, statuses, views), then `model/provider.py` (the table's contract), then
`agent.py`, which owns every task of the protocol and calls its parts in order; `join.py` is the way in.

- `model/`: the values and the contract of the table (pure).
- `providers/`: the table on memory, SQLite, Redis and Postgres.
- `table/`: reads and changes the table, keeps views fresh, repairs it, rebuilds it after a loss.
- `detection/`: probes, adaptive time-outs, local health, gossip and votes.
- `fencing/`: stops turns when nothing proves that the cluster still counts on this silo.

A sub-room imports only those named above it in this list; `.importlinter` holds that.
"""
