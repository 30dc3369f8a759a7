"""The events of activations and of the event loop that runs them, one declaration each, as in `catalogue.py`."""

from __future__ import annotations

from logging import ERROR, WARNING

from grange.observability.events import Event


class LoopBlocked(Event, frozen=True):
    """Code that does not yield has held the event loop for a second or longer."""

    NAME, LEVEL, LOGGER = "loop_blocked", WARNING, "silo"
    SENTENCE = "the event loop of silo {me} has been blocked for {seconds:.1f} s by {by}, which does not yield to it"
    BLOCK = "stack"
    seconds: float
    stack: str
    by: str = "code"
    grain_type: str = ""
    line: str = ""


class TurnStuck(Event, frozen=True):
    """A turn runs for longer than `runtime.stuck_after`. Reported once for each turn."""

    NAME, LEVEL, LOGGER = "turn_stuck", WARNING, "runtime"
    SENTENCE = (
        "a turn of {grain}.{method} has run for {seconds:.0f} s, and {waiting:request waits/requests wait} for it; "
        "silo {me} has {stuck:such turn/}"
    )
    KEY = ("grain_type",)
    BLOCK = "stack"
    grain_type: str
    grain: str
    method: str
    seconds: float
    waiting: int
    stuck: int
    stack: str


class ActivationHeld(Event, frozen=True):
    """A grain cannot be activated, again and again. For some seconds it is refused with the last error."""

    NAME, LEVEL, LOGGER = "activation_held", WARNING, "runtime"
    SENTENCE = "{grain} is held down for {seconds:.1f} s: {failures:activation/} failed in a row, the last with {error}"
    KEY = ("grain_type",)
    grain_type: str
    grain: str
    failures: int
    seconds: float
    error: str


class ActivationAbandoned(Event, frozen=True):
    """Code of a grain did not end in its time. It was cancelled, and the grain is activated anew without it."""

    NAME, LEVEL, LOGGER = "activation_abandoned", ERROR, "runtime"
    SENTENCE = (
        "the activation of {grain} is abandoned: {work} has run for {seconds:.0f} s; "
        "{waiting:request goes/requests go} to a new one"
    )
    KEY = ("grain_type",)
    BLOCK = "stack"
    grain_type: str
    grain: str
    work: str
    seconds: float
    waiting: int
    stack: str


class ActivationsShed(Event, frozen=True):
    """The process uses too much memory, so the activations that were idle for longest end."""

    NAME, LEVEL, LOGGER = "activations_shed", WARNING, "silo"
    SENTENCE = "silo {me} uses {used} MiB of memory, over its {limit} MiB: {ended} of its {activations:activation/} end"
    ended: int
    activations: int
    used: int
    limit: int


class LoadShed(Event, frozen=True):
    """The event loop is late, so a share of the clients' requests is refused."""

    NAME, LEVEL, LOGGER = "load_shed", WARNING, "silo"
    SENTENCE = (
        "the event loop of silo {me} is {lag:.2f} s late: a share of the clients' requests is refused as Overloaded"
    )
    lag: float


class DeadlockFound(Event, frozen=True):
    """Requests wait for each other in a cycle, so none of them would ever run."""

    NAME, LEVEL, LOGGER = "deadlock_found", WARNING, "runtime"
    SENTENCE = "{grain}.{method} waits for itself, and {outcome}: {cycle}"
    KEY = ("grain_type", "method")
    grain_type: str
    grain: str
    method: str
    cycle: str
    outcome: str
