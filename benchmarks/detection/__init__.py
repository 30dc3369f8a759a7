"""What failure detection costs, how soon it finds a hang, whether it is ever wrong: `python -m benchmarks.detection`.

Membership agents alone, on one table in memory and a simulated network, in virtual time: no silo, no grain.
"""
