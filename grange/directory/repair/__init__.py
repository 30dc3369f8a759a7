"""Compares the directory with the silos' activations, repairs registrations, and ends duplicate activations.

Started by `cluster.py`. Open `consistency_checker.py` first.
"""
