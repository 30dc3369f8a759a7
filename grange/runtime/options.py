"""Options of the runtime: time-outs, ages and bounds of one silo or client."""

from __future__ import annotations

import msgspec

from grange.errors import ConfigurationError


class RuntimeOptions(msgspec.Struct, frozen=True):
    """Times are in seconds, sizes in bytes. Raises ConfigurationError for one that is not positive."""

    response_timeout: float = 30.0
    """A call without `@response_timeout` waits at most so long; Orleans' default, long enough for any sane turn."""
    activation_timeout: float = 30.0
    """Claim, constructor, state and `on_activate` together; after it the waiting callers get ActivationFailed."""
    deactivation_timeout: float = 30.0
    """`on_deactivate` and pending state writes; after it the activation is dropped all the same."""
    idle_timeout: float = 900.0
    """An activation without calls for so long is collected, unless its class says otherwise."""
    collect_period: float = 60.0
    """How often idle activations are looked for; an activation lives at most this much longer than its age."""
    mailbox_limit: int = 10_000
    """Requests waiting at one activation before more are refused as Overloaded."""
    admission_limit: int = 100_000
    """Requests waiting or running in the whole silo before more are refused as Overloaded."""
    payload_limit: int = 4 * 1024 * 1024 - 64 * 1024
    """Largest encoded arguments or result; below gRPC's message limit, to leave room for the rest of the frame."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"runtime option {name} must be positive, not {getattr(self, name)!r}")
