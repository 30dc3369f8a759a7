"""Options of the runtime: time-outs and bounds of one silo or client."""

from __future__ import annotations

import msgspec

from grange.option_ranges import check_ranges, values_and_defaults


class RuntimeOptions(msgspec.Struct, frozen=True):
    """Times are in seconds, sizes in bytes. Raises ConfigurationError for an option out of its range."""

    response_timeout: float = 30.0
    """Longest wait of a call without `@response_timeout`. The default is that of Orleans, ample for one turn."""
    activation_timeout: float = 30.0
    """Longest time for claim, constructor, state and `on_activate`; after it the callers get ActivationFailed."""
    deactivation_timeout: float = 30.0
    """Longest time for `on_deactivate` and pending state writes; after it the activation is dropped."""
    idle_timeout: float = 900.0
    """Idle time after which an activation is collected, unless its class has `idle_timeout=`."""
    collect_period: float = 60.0
    """Time between two sweeps for idle activations; upper bound of how long one outlives its idle time-out."""
    stuck_after: float = 30.0
    """Time after which a running turn counts as stuck: it is reported once, with its stack, as the event `turn_stuck`.
    """
    mailbox_limit: int = 10_000
    """Requests that may wait at one activation; further ones are refused as Overloaded."""
    admission_limit: int = 100_000
    """Requests from other processes that may wait or run in the whole silo; further ones are refused as Overloaded."""
    admission_bytes: int = 256 * 1024 * 1024
    """Bytes of these requests; further ones are refused as Overloaded. The large arguments of all turns may take as
    much again when they are decoded; further ones wait."""
    connection_requests: int = 50_000
    """Requests of one connection that may wait or run; further ones are refused as Overloaded. So one peer leaves room
    for others."""
    connection_bytes: int = 64 * 1024 * 1024
    """Bytes of these requests; further ones are refused as Overloaded."""
    client_requests: int = 10_000
    """Calls to the observers of one client that may be in progress in one silo; further ones are refused as Overloaded,
    so that a client that does not answer fills no memory."""
    answer_bytes: int = 64 * 1024 * 1024
    """Bytes of answers that may wait in the whole silo. Above, requests of peers that leave answers unread wait, and
    peers that read nothing for ten seconds lose their connections."""
    payload_limit: int = 4 * 1024 * 1024 - 64 * 1024
    """Largest encoded arguments or result. It is below gRPC's message limit to leave room for the rest of the frame."""

    def __post_init__(self) -> None:
        check_ranges("runtime", *values_and_defaults(self))
