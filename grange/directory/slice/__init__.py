"""One silo's slice of the directory: which ranges it owns and which activation is registered for each grain in them.

Open `partition.py` first (pure): it decides every registration. `slice.py` holds what the parts of the directory share.
"""
