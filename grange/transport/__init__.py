"""Moves whole messages between two addresses. Called by `runtime/calls/sender.py` (out) and the silo's start-up
(in).

Open `provider.py` first: the contract. `grpc.py` is the real one, `memory.py` the one for a single process,
`peers.py` keeps one connection per peer.
"""
