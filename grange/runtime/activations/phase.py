"""The phases of an activation, and the reasons of its end that other code asks for. Pure."""

from __future__ import annotations

import enum

from grange.grains.deactivation import DeactivationCode, DeactivationReason

SELF_DEACTIVATED = DeactivationReason(DeactivationCode.REQUESTED, "the grain asked for it")
"""The deactivation reason of an activation whose grain called `deactivate_when_idle`."""

UNSAVED = DeactivationReason(DeactivationCode.UNSAVED, "a change to its state was not stored")
"""The deactivation reason after an error of the activation's own state left a turn. No turn starts in it any more, and
nothing is answered from its memory or stored."""


class Phase(enum.IntEnum):
    """The phases of an activation, in order. An activation never goes back."""

    ACTIVATING = 0
    ACTIVE = 1
    CLOSING = 2  # running requests complete, other requests wait
    ENDING = 3  # `on_deactivate` runs and the claim is released
    GONE = 4


def is_abandoned(reason: DeactivationReason | None) -> bool:
    """Whether the code of an activation that ends for this reason is left behind, because it does not end."""
    return reason is not None and reason.code is DeactivationCode.UNRESPONSIVE
