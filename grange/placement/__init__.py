"""Placement: chooses the silo for a grain that has no activation. Pure: takes a frozen context, returns a silo.

`directory/locator.py` is the only caller. It has the view, and first asks the directory whether an activation exists.
To write a strategy of your own, open `provider.py`. The built-in strategies are in `strategies.py`.
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
