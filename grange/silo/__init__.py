"""One server process: hosts grains, is a member of the cluster, lets clients in.

Authors use `Silo` (`silo.py`); `startup.py` shows its parts in the order in which they start: open it first.

- what it is made of: `definition.py`, `config.py`, `environment.py`, `store_checks.py`;
- its doors: `gateway.py` (clients' calls), `management.py` (questions and orders of operators), `gated_listener.py`,
  `probing.py` with `loop_watch.py`;
- its end: `drain.py` takes the steps of `departure.py`.
"""

from grange.silo.config import SiloConfig
from grange.silo.silo import Silo

__all__ = ["Silo", "SiloConfig"]
