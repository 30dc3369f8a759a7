"""The membership table as one silo uses it: reads it, decides changes, keeps views fresh, repairs and rebuilds it.

Called by `agent.py`. Open `transitions.py` first (pure): it decides every change of a row, with the rule for votes in
`model/votes.py`. `session.py` judges reads and writes changes; `writer.py` announces them to the other silos.
"""
