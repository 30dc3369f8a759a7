"""One server process: hosts grains, is a member of the cluster, lets clients in.

Authors use `Silo`; `startup.py` shows its parts in the order in which they start.
"""

from grange.silo.config import SiloConfig
from grange.silo.silo import Silo

__all__ = ["Silo", "SiloConfig"]
