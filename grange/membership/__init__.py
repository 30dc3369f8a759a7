"""Who is in the cluster, and how we know. Called by the silo's start-up; publishes views to the rooms above.

Open `member.py` first (the nouns and status rules), then `provider.py` (the table) and `agent.py` (the protocol).
"""
