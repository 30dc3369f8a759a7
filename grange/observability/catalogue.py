"""The events of a silo, one declaration each; `turn_events.py` has those of activations and of the event loop.

`docs/operations/events.md` is generated from both.

The first line of a docstring says what happened. Facts are texts, numbers and truth values; never state, an argument,
or a secret. Seconds are seconds; a silo is its address as text.
"""

from __future__ import annotations

from logging import ERROR, INFO, WARNING

from grange.observability.events import Event

# --- a silo's life ----------------------------------------------------------------------------------------------------


class SiloJoining(Event, frozen=True):
    """This silo starts to join its cluster."""

    NAME, LEVEL, LOGGER = "silo_joining", INFO, "silo"
    SENTENCE = "silo {me} joins cluster {cluster!r}"
    cluster: str


class SiloActive(Event, frozen=True):
    """This silo is active: it hosts grains, and its gateway admits clients."""

    NAME, LEVEL, LOGGER = "silo_active", INFO, "silo"
    SENTENCE = "silo {me} of cluster {cluster!r} is active"
    cluster: str


class SiloStopping(Event, frozen=True):
    """This silo starts to drain, and stops afterwards."""

    NAME, LEVEL, LOGGER = "silo_stopping", INFO, "silo"
    SENTENCE = "silo {me} stops: calls that run have {seconds:g} s to end"
    seconds: float


class SiloStopped(Event, frozen=True):
    """This silo has stopped."""

    NAME, LEVEL, LOGGER = "silo_stopped", INFO, "silo"
    SENTENCE = "silo {me} has stopped"


class DrainTimeout(Event, frozen=True):
    """A phase of the drain did not end in its time; the stop goes on without waiting for it."""

    NAME, LEVEL, LOGGER = "drain_timeout", WARNING, "silo"
    SENTENCE = (
        "silo {me}: {phase} did not end within {seconds:g} s; {activations:activation/} and "
        "{requests:request/} are left, the stop continues"
    )
    phase: str
    seconds: float
    activations: int
    requests: int


class PartWouldNotEnd(Event, frozen=True):
    """A part of the silo did not close in its time, and is left behind."""

    NAME, LEVEL, LOGGER = "part_would_not_end", ERROR, "silo"
    SENTENCE = "silo {me}: {part} did not end within {seconds:g} s; the stop continues without it"
    part: str
    seconds: float


class UnknownToken(Event, frozen=True):
    """A client sent a token that this silo does not know."""

    NAME, LEVEL, LOGGER = "unknown_token", WARNING, "silo"
    SENTENCE = "the client {client!r} sent a token that this silo does not know: {outcome}"
    client: str
    outcome: str


class ActionTaken(Event, frozen=True):
    """An operator acted on this silo by the dashboard or the command line."""

    NAME, LEVEL, LOGGER = "action_taken", INFO, "silo"
    SENTENCE = "{by} asked silo {me} to {action} {target}: {outcome} (reason: {reason})"
    KEY = ("action", "target")
    action: str
    target: str
    by: str
    reason: str
    outcome: str


# --- membership -------------------------------------------------------------------------------------------------------


class MembershipRead(Event, frozen=True):
    """This silo has read the membership table for the first time."""

    NAME, LEVEL, LOGGER = "membership_read", INFO, "membership"
    SENTENCE = (
        "silo {me} reads the membership table at version {version}: {active} active, {joining} joining, {dead} dead"
    )
    version: int
    active: int
    joining: int
    dead: int


class MembershipChanged(Event, frozen=True):
    """The membership table has a new version: a row was written. `first` is the oldest version that it can be."""

    NAME, LEVEL, LOGGER = "membership_changed", INFO, "membership"
    SENTENCE = "{versions}: {member} {change}, by {by}: {why}"
    KEY = ("member", "change")
    version: int
    first: int
    member: str
    status: str
    change: str
    by: str
    why: str
    versions: str


class SiloSuspected(Event, frozen=True):
    """This silo has voted that another one is dead; the votes are not enough yet."""

    NAME, LEVEL, LOGGER = "silo_suspected", WARNING, "membership"
    SENTENCE = "silo {member} is suspected, by the votes of {voters} so far: {reason}"
    KEY = ("member",)
    member: str
    voters: str
    reason: str


class SiloDeclaredDead(Event, frozen=True):
    """This silo has written the death of another one."""

    NAME, LEVEL, LOGGER = "silo_declared_dead", ERROR, "membership"
    SENTENCE = "silo {member} is declared dead by {by}: {reason}"
    KEY = ("member",)
    member: str
    by: str
    reason: str


class VoteWithheld(Event, frozen=True):
    """A silo missed its probes, but messages still arrive from it, so this silo does not vote."""

    NAME, LEVEL, LOGGER = "vote_withheld", INFO, "membership"
    SENTENCE = "silo {me} does not vote on {member}: it missed {missed:probe/}, but messages still arrive from it"
    KEY = ("member",)
    member: str
    missed: int


class DeclaredDead(Event, frozen=True):
    """This silo was declared dead by others, and must end."""

    NAME, LEVEL, LOGGER = "declared_dead", ERROR, "membership"
    SENTENCE = "{error}"
    error: str


class FencedTooLong(Event, frozen=True):
    """This silo has been fenced for so long that it ends."""

    NAME, LEVEL, LOGGER = "fenced_too_long", ERROR, "membership"
    SENTENCE = "{error}"
    error: str


class SelfFenced(Event, frozen=True):
    """This silo starts no turns, because it has no proof that it is still a member."""

    NAME, LEVEL, LOGGER = "self_fenced", ERROR, "membership"
    SENTENCE = (
        "silo {me} starts no turns: for {seconds:.1f} s it was not heard by all silos that watch it, could not read "
        "the membership table, and could not reach a majority of the active silos"
    )
    seconds: float


class FenceLifted(Event, frozen=True):
    """This silo has found a proof of its membership and starts turns again."""

    NAME, LEVEL, LOGGER = "fence_lifted", INFO, "membership"
    SENTENCE = "silo {me} starts turns again, after {seconds:.1f} s"
    seconds: float


class SiloStoodStill(Event, frozen=True):
    """The process or its machine was stopped for a while, or a turn blocked the event loop."""

    NAME, LEVEL, LOGGER = "silo_stood_still", WARNING, "membership"
    SENTENCE = (
        "silo {me} stood still for {seconds:.1f} s: a turn blocked its event loop, or the process or machine was "
        "stopped; no turn starts until a new proof of membership is found"
    )
    seconds: float


class HealthDegraded(Event, frozen=True):
    """This silo measures that it is not healthy itself, and takes longer before it suspects others."""

    NAME, LEVEL, LOGGER = "health_degraded", WARNING, "membership"
    SENTENCE = "silo {me} is not healthy: {signs}"
    score: int
    signs: str


class TableUnreachable(Event, frozen=True):
    """The membership table does not answer; calls go on, joins and deaths wait."""

    NAME, LEVEL, LOGGER = "table_unreachable", WARNING, "membership"
    SENTENCE = "{work}: {error}"
    work: str
    error: str


class TableReachable(Event, frozen=True):
    """The membership table answers again."""

    NAME, LEVEL, LOGGER = "table_reachable", INFO, "membership"
    SENTENCE = "the membership table answers again after {seconds:.1f} s"
    seconds: float


class TableLost(Event, frozen=True):
    """The membership table was lost, or its database went back in time."""

    NAME, LEVEL, LOGGER = "table_lost", ERROR, "membership"
    SENTENCE = (
        "the membership table is lost: it was at version {version}; calls continue, joins and deaths wait until it is "
        "back, or rebuilt after {seconds:g} s"
    )
    version: int
    seconds: float


class TableBack(Event, frozen=True):
    """The lost membership table is back, or rebuilt."""

    NAME, LEVEL, LOGGER = "table_back", INFO, "membership"
    SENTENCE = "the membership table is back, at version {version}"
    version: int


class TableRebuilt(Event, frozen=True):
    """This silo has rebuilt the lost membership table from its memory."""

    NAME, LEVEL, LOGGER = "table_rebuilt", INFO, "membership"
    SENTENCE = "silo {me} has rebuilt the membership table at version {version}"
    version: int


class DeadRowReturned(Event, frozen=True):
    """The membership table shows a silo alive whose death it had confirmed."""

    NAME, LEVEL, LOGGER = "dead_row_returned", WARNING, "membership"
    SENTENCE = "the membership table shows {members} alive after its death: the database went back in time"
    members: str


class RowsRemoved(Event, frozen=True):
    """This silo has removed rows of dead silos from the membership table."""

    NAME, LEVEL, LOGGER = "rows_removed", INFO, "membership"
    SENTENCE = "silo {me} removed {count:row/} of dead silos"
    count: int


# --- the grain directory ----------------------------------------------------------------------------------------------


class DuplicateActivation(Event, frozen=True):
    """Two activations of one grain were found; the unregistered one ends."""

    NAME, LEVEL, LOGGER = "duplicate_activation", ERROR, "directory"
    SENTENCE = "two activations of {grain}: the registered one, {winner}, stays; {loser} must end"
    KEY = ("grain_type",)
    grain_type: str
    grain: str
    winner: str
    loser: str


class RegistrationRepaired(Event, frozen=True):
    """The grain directory differed from the activations, and was repaired."""

    NAME, LEVEL, LOGGER = "registration_repaired", WARNING, "directory"
    SENTENCE = (
        "the directory was repaired: {repaired:activation/} registered again, {stale:entry/entries} without an "
        "activation removed"
    )
    repaired: int
    stale: int


class RangeRecoveringLong(Event, frozen=True):
    """A range of the directory cannot be recovered yet, because a silo does not report its activations."""

    NAME, LEVEL, LOGGER = "range_recovering_long", WARNING, "directory"
    SENTENCE = (
        "silo {me} has been recovering ranges of view {version} for {seconds:.0f} s: silo {member} is not declared "
        "dead, but does not report its activations: {error}"
    )
    KEY = ("member",)
    version: int
    seconds: float
    member: str
    error: str


class ActivationsRebalanced(Event, frozen=True):
    """Idle activations of this silo moved to silos with fewer."""

    NAME, LEVEL, LOGGER = "activations_rebalanced", INFO, "silo"
    SENTENCE = (
        "silo {me} moved {moved:activation/} to silos with fewer, and {failed} did not move; the fullest silo had "
        "{imbalance:.0%} more than the mean"
    )
    moved: int
    failed: int
    imbalance: float


# --- storage ----------------------------------------------------------------------------------------------------------


class StorageUnavailable(Event, frozen=True):
    """A store cannot be reached; operations on its state fail at once."""

    NAME, LEVEL, LOGGER = "storage_unavailable", WARNING, "storage"
    SENTENCE = (
        "storage {storage!r} cannot be reached: operations on its state fail at once, other calls continue: {error}"
    )
    KEY = ("storage",)
    storage: str
    error: str


class StorageProbeFailed(Event, frozen=True):
    """The provider of a store raised an error that it should not raise, while the store was probed."""

    NAME, LEVEL, LOGGER = "storage_probe_failed", WARNING, "storage"
    SENTENCE = "the probe of storage {storage!r} failed: {error}"
    KEY = ("storage",)
    storage: str
    error: str


class StorageBack(Event, frozen=True):
    """A store answers again."""

    NAME, LEVEL, LOGGER = "storage_back", INFO, "storage"
    SENTENCE = "storage {storage!r} is back after {seconds:.1f} s"
    KEY = ("storage",)
    storage: str
    seconds: float


class WriteFenced(Event, frozen=True):
    """A store refused a change of this silo, because the death of this silo is recorded in it."""

    NAME, LEVEL, LOGGER = "write_fenced", ERROR, "storage"
    SENTENCE = "{error}"
    error: str


class StateUnreadable(Event, frozen=True):
    """A stored state does not fit its type: it is damaged, or of a version that this silo cannot read."""

    NAME, LEVEL, LOGGER = "state_unreadable", ERROR, "storage"
    SENTENCE = (
        "state {state!r} of {grain} in storage {storage!r} does not fit its type at {place}, and the grain is not "
        "activated; the row is left as it is; version {stored} of the type stored it, this silo has version {known}"
    )
    KEY = ("grain_type",)
    storage: str
    grain_type: str
    grain: str
    state: str
    stored: int
    known: int
    place: str


class DeathsNotRecorded(Event, frozen=True):
    """The deaths of silos are not recorded in a store yet; reads of state wait for it."""

    NAME, LEVEL, LOGGER = "deaths_not_recorded", WARNING, "storage"
    SENTENCE = (
        "storage {storage!r} could not record that silos are dead ({members}); reads of state wait for it: {error}"
    )
    KEY = ("storage",)
    storage: str
    members: str
    error: str
