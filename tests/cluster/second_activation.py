"""A second activation of a grain that is active elsewhere: the directory does not know it."""

from __future__ import annotations

import asyncio

from grange.proto.ids import GrainId
from grange.runtime.activations.activation import Activation
from grange.runtime.activations.phase import Phase
from grange.runtime.locator import LocalOnly
from grange.silo.silo import Silo


def plant(silo: Silo, grain_id: GrainId) -> Activation:
    """Start an activation that the directory does not know."""
    catalog = silo.catalog
    activation = Activation(grain_id, catalog.hosted[grain_id.type], catalog, asyncio.get_running_loop().time())
    catalog.insert(activation)
    claims, catalog.claims = catalog.claims, LocalOnly(silo.address)
    catalog.start_activation(activation)
    activation.owner.deps.tasks.start(restore(silo, claims, activation))
    return activation


async def restore(silo: Silo, claims: object, activation: Activation) -> None:
    while activation.phase is Phase.ACTIVATING:
        await asyncio.sleep(0)
    silo.catalog.claims = claims  # type: ignore[assignment]
