"""Moves ranges between silos when the view changes: fetches them from the owner before, else asks every host.

Called by `service.py`. Open `acquisition.py` first (the new owner's side), then `handover.py` (the old owner's side).
"""
