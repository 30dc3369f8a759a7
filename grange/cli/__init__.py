"""The command `grange`: run silos, inspect a cluster, call a grain, drain a silo, check the stores.

Called by `grange/__main__.py`. Open `commands.py` first: one function per command.

- run: `process.py` (signals, exit codes), `logs.py`, `silo_import.py`; `dev.py` with `demo_silo.py`;
- ask: `remote.py` (the cluster), `inspect.py`, `json_call.py`, `drain.py`, `doctor.py`;
- show: `output.py` (JSON or terminal), `tables.py` (rows of each table, keys of each JSON object).
"""
