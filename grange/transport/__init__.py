"""Moves whole messages between two addresses.

`runtime/calls/sender.py` calls it to send, `silo/startup.py` to listen. Open `provider.py` first: the contract.
`grpc.py` is the transport between processes, `tcp.py` the faster one by plain sockets, which `roads.py` puts beside it.
`memory.py` is the one within a process. `peers.py` keeps one connection per peer. `connection.py` is the core of every
connection: the queue, delivery and the end; `framed.py` (a stream of frames) and `paired.py` (two ends in one event
loop) build on it.
"""
