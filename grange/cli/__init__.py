"""The command `grange`: run silos, inspect a cluster, call a grain, drain a silo, check the stores.

Called by `grange/__main__.py`. Open `commands.py` first: it lists the subcommands; their modules are imported when they
run. A new subcommand is a line there, and a module with a command named `<name>_command`.

- run: `run_command.py`, `process.py` (signals), `logs.py`, `silo_import.py`; `dev_command.py`, `dev.py` and
  `demo_silo.py`;
- ask: `remote.py` (the cluster and its gateways), `here.py` and `configured_here.py` (this machine's configuration),
  `ask.py`, `cluster_wide.py` (a question to every silo), `call.py`, `json_call.py`, `drain_command.py`, `drain.py`,
  `doctor.py`, `migrate.py`, `completion.py`, `grain_arguments.py`;
- show: `streams.py` (standard output), `output.py` (JSON or terminal), `tables.py` (rows of each table, keys of each
  JSON object), `exit_codes.py`, `naming.py` (options in errors).
"""
