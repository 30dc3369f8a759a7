"""Who is in the cluster, and how we know. Called by the silo's start-up; publishes views to the rooms above.

Open `member.py` first (the nouns and status rules), then `provider.py` (the table) and `agent.py` (the protocol, which
owns the tasks of all that follows). Files that only decide are marked (pure); the others act on what these say.

- the table: `steps.py` (its changes, pure), `session.py` (making them), `views.py`, `shared_read.py`, `rows.py` (pure);
- to a database: `urls.py`, `memory.py`, `sqlite.py`, `redis.py`, `postgres.py`, each `redis_*` part beside it;
  `checks.py` and `*_check.py` look at a store before the start; `resets.py` (pure) knows a connection that was reset;
- who watches whom: `ring.py`, `rings.py`; who is given up: `prober.py` with `detector.py`, `patience.py`, `health.py`
  (pure), then `voter.py` with `votes.py`, `findings.py` (pure);
- what silos say to each other: `peers.py`, `messages.py` and `answers.py`, made from `vitals.py`;
- whether this silo may work: `guard.py` with `fence.py` (pure);
- coming and going: `join.py`, `aio/backoff.py` (pure), `upkeep.py`, `surroundings.py`, `condition.py`;
- looking after the table: `caretaker.py` with `cleaning.py` and `graves.py` (pure); after its loss `rebuild.py` with
  `recovery.py` (pure); `aio/throttled_log.py` keeps alarms from flooding the log.
"""
