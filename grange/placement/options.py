"""The options of placement: how loads travel, and how activations are balanced after a change of the cluster."""

from __future__ import annotations

import msgspec

from grange.errors import ConfigurationError
from grange.option_ranges import check_ranges, values_and_defaults


class PlacementOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Times are in seconds. Give all silos of a cluster the same."""

    load_period: float = 1.0
    """Seconds between two reports of this silo's load to three others, which pass them on. Nothing is sent while no
    placement of the cluster looks at loads and no silo rebalances.
    """

    load_lifetime: float = 10.0
    """Seconds after which a load that has not been reported again is ignored."""

    rebalance: bool = False
    """Whether this silo moves activations to silos with fewer, after a change of the cluster. All silos need it."""

    rebalance_delay: float = 60.0
    """Seconds after the last change of the cluster until activations move: a rolling update must not move them twice.
    """

    rebalance_period: float = 15.0
    """Seconds between two rounds of moves."""

    rebalance_moves: int = 200
    """Most activations that this silo moves in one round."""

    rebalance_tolerance: int = 10
    """Percent by which this silo may have more activations than the mean of all silos before it moves any."""

    def __post_init__(self) -> None:
        check_ranges("placement", *values_and_defaults(self), zero={"rebalance_delay"})
        if self.load_lifetime < 3 * self.load_period:
            raise ConfigurationError(
                f"placement option load_lifetime ({self.load_lifetime} s) must be at least three times load_period "
                f"({self.load_period} s), or a load that is late counts as unknown"
            )
