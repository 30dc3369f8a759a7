"""The rules of a simulation: who may call the grains of its workloads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from grange.grains.definition import spec_of
from grange.grains.grain import Grain
from grange.proto.identity import SCHEME
from grange.testing.simulation.workloads.vaults import KEEPER, SimulatedPorter, SimulatedVault, rules_of_vaults

_GUARDED = (SimulatedVault, SimulatedPorter)


def rules_of(hosted: Iterable[Sequence[type[Grain[Any]]]], cluster: str) -> dict[str, Any]:
    """The options of the silos: every client, grain and silo may call the grains that they host, but vaults."""
    classes = dict.fromkeys(cls for grains in hosted for cls in grains if cls not in _GUARDED)
    clients = f"{SCHEME}{cluster}/client/"
    free = {"who": [f"{clients}*", "grain:*", "silo"], "call": [f"{spec_of(cls).name}/*" for cls in classes]}
    rules = [*([free] if classes else ()), *rules_of_vaults(f"{clients}*")]
    return {"roles": {clients + KEEPER: ("keeper",)}, "allow": rules}
