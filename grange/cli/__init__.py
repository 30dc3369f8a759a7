"""The command `grange`: run silos, look at a cluster, call a grain, drain a silo, check the stores.

Called by `grange/__main__.py`. Open `commands.py` first: one function per command. `process.py` runs a silo as an
operating-system process, with signals and exit codes; `tables.py` lays out what commands print.
"""
