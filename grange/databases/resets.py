"""How a connection that was reset shows itself when a driver writes to it. Pure; used for every store by its driver."""

from __future__ import annotations


def is_reset(error: RuntimeError) -> bool:
    """Whether it is uvloop's word for a connection that was closed under the driver's hands.

    Drivers pass it on as it is; every other RuntimeError is a mistake in code.
    """
    return "the handler is closed" in str(error)
