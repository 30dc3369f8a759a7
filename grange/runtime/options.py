"""Options of the runtime: time-outs and bounds of one silo or client."""

from __future__ import annotations

import msgspec

from grange.option_ranges import OutOfRange, check_ranges, values_and_defaults
from grange.proto.waits import Detects

BLOCKING_THREADS = 32
"""The default of `RuntimeOptions.blocking_threads`."""


ZERO = ("hold_down", "memory_mib", "shed_lag", "identity_requests", "identity_bytes")
"""Options that may be 0, which turns them off."""


class RuntimeOptions(msgspec.Struct, frozen=True):
    """Times are in seconds, sizes in bytes. Raises ConfigurationError for an option out of its range."""

    response_timeout: float = 30.0
    """Longest wait of a call without `@response_timeout`. The default is that of Orleans, ample for one turn."""
    activation_timeout: float = 30.0
    """Longest time for claim, constructor, state and `on_activate`; after it the callers get ActivationFailed."""
    deactivation_timeout: float = 30.0
    """Longest time for `on_deactivate` and pending state writes; after it the activation is dropped."""
    hold_down: float = 5.0
    """Longest time for which a grain is refused, and not activated, after activations that failed in a row; 0: never.
    It begins with 0.1 s after the second failure and doubles with each further one."""
    idle_timeout: float = 900.0
    """Idle time after which an activation is collected, unless its class has `idle_timeout=`."""
    collect_period: float = 60.0
    """Time between two sweeps for idle activations; upper bound of how long one outlives its idle time-out."""
    stuck_after: float = 30.0
    """Time after which a running turn counts as stuck: it is reported once, with its stack, as the event `turn_stuck`.
    """
    detect_deadlocks: str = "on"
    """Grains whose requests wait for each other: "on" refuses one of them with DeadlockError, "warn" only reports the
    cycle as the event `deadlock_found`, "off" does neither, and the requests wait until their time is over. A class may
    say otherwise with `detect_deadlocks=`."""
    max_turn_time: float = 7200.0
    """Time after which a turn that holds up other requests, or the end of its activation, is abandoned: its callers get
    TurnAbandoned, its states store nothing any more, and the other requests go to a new activation."""
    blocking_threads: int = BLOCKING_THREADS
    """Most `@blocking` methods that run at once; further ones wait. Threads are made when they are needed."""
    mailbox_limit: int = 10_000
    """Requests that may wait at one activation; further ones are refused as Overloaded."""
    memory_percent: int = 90
    """Percentage of the memory that the process may use (of its control group, else of the machine) above which the
    activations that were idle for longest end; 100: never. Without effect in the virtual time of tests."""
    memory_mib: int = 0
    """MiB of memory above which they end, in place of `memory_percent`; 0: `memory_percent` counts."""
    shed_lag: float = 0.0
    """Lag of the event loop above which a growing share of the clients' requests is refused as Overloaded; 0: never."""
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
    identity_connections: int = 1000
    """Connections of one identity to one silo: of one certificate or user, else of one address. All processes with one
    certificate count together, so it is ample. Those beyond are refused with the code `too-many`."""
    identity_requests: int = 0
    """Requests a second of one identity to one silo; further ones are refused as Overloaded; 0: no limit."""
    identity_bytes: int = 0
    """Bytes a second of these requests, with their contexts; further ones are refused as Overloaded; 0: no limit."""
    client_requests: int = 10_000
    """Calls to the observers of one client that may be in progress in one silo; further ones are refused as Overloaded,
    so that a client that does not answer fills no memory."""
    answer_bytes: int = 64 * 1024 * 1024
    """Bytes of answers that may wait in the whole silo. Above, requests of peers that leave answers unread wait, and
    peers that read nothing for ten seconds lose their connections."""
    enumeration_timeout: float = 300.0
    """Time without a fetch after which the enumeration of a streamed method is ended, because its caller is gone."""
    enumerations_per_activation: int = 1_000
    """Enumerations of one activation that may be live; further ones are refused as Overloaded."""
    enumerations_per_silo: int = 20_000
    """Enumerations of a silo that may be live; further ones are refused as Overloaded."""
    enumerations_per_caller: int = 5_000
    """Enumerations that one client has begun and that may be live in a silo; further ones are refused as Overloaded.
    Clients that do not name themselves share that of their gateway. Grains have no such limit."""
    payload_limit: int = 4 * 1024 * 1024 - 64 * 1024
    """Largest encoded arguments or result. It is below gRPC's message limit to leave room for the rest of the frame."""
    carried_limit: int = 1024 * 1024
    """Largest encoded result of `dehydrate`. An activation that would carry more ends instead of moving."""

    @property
    def move_timeout(self) -> float:
        """Seconds for another silo to continue an activation, or to end what it began of it."""
        return self.activation_timeout + self.deactivation_timeout

    def __post_init__(self) -> None:
        check_ranges("runtime", *values_and_defaults(self), zero=ZERO)
        if self.memory_percent > 100:
            raise OutOfRange(f"runtime option memory_percent must be at most 100, not {self.memory_percent!r}")
        if self.detect_deadlocks not in tuple(Detects):
            raise OutOfRange(
                f"runtime option detect_deadlocks must be {', '.join(Detects)}, not {self.detect_deadlocks!r:.100}"
            )
