"""Compares the directory with what silos run, repairs registrations, and ends duplicate activations.

Started by `cluster.py`. Open `consistency_checker.py` first.
"""
