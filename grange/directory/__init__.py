"""Where each grain lives: one entry per activation, spread over the active silos by the hash ring.

`runtime/caller.py` asks `locator.py` where to send; `runtime/catalog.py` claims through it; `silo/startup.py`
builds all of it as one `ClusterDirectory` (`cluster.py`: open it first). What is decided, is decided in pure
files: `partition.py` (this silo's slice), `hosted.py` (what this silo tells of itself), `topology.py` (what
follows from a view), `cache.py`.
"""
