"""Moves ranges between silos when the view changes: from the previous owner, else from every live silo.

Called by `service.py`. Open `acquisition.py` first (the new owner's side), then `handover.py` (the previous owner's).
"""
