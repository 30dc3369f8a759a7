"""The workloads of a simulation, one file each: its grains, the calls that each client makes, its check at the end.

Open `contract.py` first, then `counters.py`. To add one, write a class in a file of its own and list it in `every.py`.
A grain records its turns in its `SiloTurnLog` (a constructor parameter), a client its calls by `Scene.call`. So every
call is also checked for its outcome, and every grain for a second activation, without a line in the workload.
"""
