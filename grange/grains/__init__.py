"""The programming model: what an author of grains imports. It contains no grain of ours.

Open `grain.py` first, then `ref.py` (how a reference calls) and `interface.py` (how a class is read).
"""
