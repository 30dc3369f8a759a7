"""Placement: chooses the silo for a grain that has no activation. Pure: takes a frozen context, returns a silo.

`directory/placer.py` is the only caller. It has the view, and the directory was asked first whether an activation
exists. To write a strategy of your own, open `provider.py`. The built-in strategies are in `strategies.py` and
`filters.py`; `custom.py` guards those of applications. `loads.py` keeps what is known of the silos' loads.
"""

from grange.placement.filters import ByRole, LabelFilter, builtin_strategies, by_label
from grange.placement.provider import NamedStrategy, PlacementContext, PlacementStrategy, SiloLoad
from grange.placement.strategies import LeastLoaded, PreferLocal, RandomChoice, RingOwner, StatelessWorker

__all__ = [
    "ByRole",
    "LabelFilter",
    "LeastLoaded",
    "NamedStrategy",
    "PlacementContext",
    "PlacementStrategy",
    "PreferLocal",
    "RandomChoice",
    "RingOwner",
    "SiloLoad",
    "StatelessWorker",
    "builtin_strategies",
    "by_label",
]
