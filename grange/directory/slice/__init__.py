"""One silo's slice of the directory: the ranges that it owns, and the entry of each grain in them.

Open `partition.py` first (pure): it decides every registration. `deps.py` holds what the parts of the directory share.
"""
