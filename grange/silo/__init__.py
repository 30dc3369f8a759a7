"""One server process: hosts grains, is a member of the cluster, lets clients in.

Authors use `Silo` (`silo.py`); `startup.py` shows its parts in the order in which they start: open it first.

- what it is made of: `definition.py`, `config.py`, `environment.py` (pure), `supplies.py`, `store_checks.py`;
- its doors: `gateway.py` (clients' calls), `management.py` (questions and orders of operators), `door.py`,
  `probing.py`;
- its end: `drain.py` takes the steps of `departure.py`; `last_resort.py` ends what will not end;
- as a process: `process.py`, `named.py`, `logs.py`, `loop_watch.py`;
- commands: `dev.py` with `playground.py`, `doctor.py`, `drain_command.py` with `drain_watch.py`, `inspect.py`,
  `tables.py` (pure).
"""

from grange.silo.config import SiloConfig
from grange.silo.silo import Silo

__all__ = ["Silo", "SiloConfig"]
