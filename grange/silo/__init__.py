"""One server process: hosts grains, is a member of the cluster, admits clients.

Authors use `Silo` (`silo.py`). Open `startup.py` first: it makes the parts of a silo in order.

- input: `definition.py`, `config.py`, `environment.py`, `store_checks.py`, `new_address.py` (its generation);
- the running silo: `running.py` (its parts), `lifecycle.py` (rules of start and stop), `shutdown.py` (steps of a stop);
- the ports: `gated_listener.py`, `gateway.py` (requests of clients), `management.py` (questions of
  operators), `probe_port.py` with `loop_watch.py`;
- operators: `control.py` (all that they ask beside figures), `acts.py`, `operations.py` (what they do), `auditing.py`.
"""

from grange.silo.config import SiloConfig
from grange.silo.silo import Silo

__all__ = ["Silo", "SiloConfig"]
