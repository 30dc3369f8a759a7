"""Which silo should run a grain that runs nowhere yet. Pure: a frozen context goes in, a silo comes out.

Authors of a strategy of their own open `provider.py`; the ones that come with grange are in `strategies.py`.
Called by `directory/locator.py` only, which knows the view, and asks the directory where a grain already
runs.
"""

from grange.placement.provider import PlacementContext, PlacementStrategy
from grange.placement.strategies import (
    PreferLocal,
    RandomChoice,
    RingOwner,
    StatelessWorker,
    builtin_strategies,
)

__all__ = [
    "PlacementContext",
    "PlacementStrategy",
    "PreferLocal",
    "RandomChoice",
    "RingOwner",
    "StatelessWorker",
    "builtin_strategies",
]
