"""The programming model: the names that authors of grains import. Contains no grains.

Open `grain.py` first, then `ref.py` (how a reference calls) and `interface.py` (how a class is read).
"""
