"""Decides which deaths of a membership view a silo records. Pure; called by `death_recorder.py`."""

from __future__ import annotations

from grange.membership.model.member import SiloStatus, View
from grange.proto.ids import SiloAddress


def deaths(view: View, me: SiloAddress) -> tuple[SiloAddress, ...]:
    """The latest generation of each endpoint that is dead or superseded, ordered by address; never `me`.

    One generation for each endpoint is enough: its death is also that of all earlier ones. No silo records its own
    death: a silo that reads of its death ends, and the other silos record it.
    """
    newest: dict[str, int] = {}
    for member in view.members:
        silo = member.address
        newest[silo.endpoint] = max(silo.generation, newest.get(silo.endpoint, silo.generation))
    latest: dict[str, SiloAddress] = {}
    for member in view.members:  # ordered by address, so later generations come later
        silo = member.address
        gone = member.status is SiloStatus.DEAD or silo.generation < newest[silo.endpoint]
        if gone and silo != me:
            latest[silo.endpoint] = silo
    return tuple(sorted(latest.values()))
