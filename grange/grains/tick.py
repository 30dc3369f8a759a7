"""What a grain gets when a reminder or a job of it is due, and the verbs by which it sets them.

`reminders/` implements the verbs and delivers ticks and jobs. A delivery is an ordinary request for a hidden method of
the grain: it waits for its turn like a call, and only silos may send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, cast

import msgspec

from grange.grains.decorators import NO_OPTIONS
from grange.grains.definition import Addressable
from grange.grains.interface import Declared, MethodSpec
from grange.proto.ids import GrainId

HOOK = "@"
"""The first character of the methods by which the runtime calls a hook. No method of a class can have it."""

MissedTicks = Literal["skip", "once", "all"]
"""What becomes of ticks that no silo could deliver in their time: see `Reminders.set`."""


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """One tick of a reminder.

    `id` is the same whenever this tick is delivered again, as after the death of a silo; no other tick has it.
    `scheduled` is the time that the schedule names, in UTC: never after the delivery. `missed`: ticks before this one
    that were left out, or given up without an answer; it is the same at each attempt. `attempt` is 1, and rises each
    time that `on_reminder` fails.
    """

    name: str
    id: str
    scheduled: datetime
    payload: Any = None
    missed: int = 0
    attempt: int = 1


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a durable job.

    `id` is the same at each attempt. `name`, `payload` and `metadata` are those with which it was scheduled, `due` is
    its time in UTC.
    """

    id: str
    name: str
    due: datetime
    payload: Any = None
    metadata: dict[str, str] = {}
    attempt: int = 1


class Cron(msgspec.Struct, frozen=True):
    """A cron expression on the clock of a time zone, such as `Cron("0 9 * * mon-fri", "Europe/Zurich")`.

    Its fields are minute, hour, day, month and weekday. Where the clock jumps over a fixed time, that comes at the end
    of the jump; where the clock shows it twice, it comes once.
    """

    expression: str
    zone: str = "UTC"


class Retry(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often a job is tried in all, and the seconds between: `first`, then doubled each time up to `longest`."""

    attempts: int = 5
    first: float = 1.0
    longest: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= 1_000:
            raise ValueError(f"attempts={self.attempts!r} must be between 1 and 1,000")
        if not 0.1 <= self.first <= self.longest <= 30 * 24 * 3600:
            raise ValueError(
                f"first={self.first!r}, longest={self.longest!r}: pauses are 0.1 s to 30 days, the first not the longer"
            )


class ScheduledJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is stored. `id` is drawn when it is scheduled.

    `due`: its next attempt, in UTC; None: it is parked after too many failures. `failed` attempts have failed, the last
    with `error`.
    """

    grain_id: GrainId
    id: str
    name: str
    due: datetime | None
    payload: Any = None
    metadata: dict[str, str] = {}
    failed: int = 0
    error: str = ""


class Reminder(msgspec.Struct, frozen=True, kw_only=True):
    """A reminder as it is stored. `id` is drawn when it is set.

    `due`: its next tick, in UTC; None: it is parked after too many failures. `failed` attempts of that tick have
    failed, the last with `error`.
    """

    name: str
    id: str
    due: datetime | None
    every: timedelta | None = None
    cron: Cron | None = None
    missed: MissedTicks = "once"
    payload: Any = None
    failed: int = 0
    error: str = ""


class Reminders(Protocol):
    """The reminders of one grain: `self.reminders`. Use it in the turns of the grain.

    They are kept in the store of the option `reminders.provider`, so they outlive the activation, its silo and the
    cluster. A tick activates the grain and calls `async def on_reminder(self, tick: Tick) -> None`.
    """

    async def set(
        self,
        name: str,
        due: float | timedelta | datetime | None = None,
        *,
        every: float | timedelta | None = None,
        cron: str | Cron | None = None,
        payload: Any = None,
        missed: MissedTicks | None = None,
    ) -> Reminder:
        """Set the reminder of this name, in place of the one that the grain has. Durable once it has returned.

        `due`: its first tick, in so many seconds from now or at a date with a time zone. Then it comes each `every`
        seconds, counted from the first tick and not from deliveries; or whenever `cron` says, a text in UTC or a `Cron`
        with a time zone; or not again. Without `due` it comes first after one period, or at the next time of `cron`.
        `payload` is a value of JSON, which each tick carries.

        `missed` says what becomes of ticks whose time passes while they cannot be delivered: "once" delivers the newest
        of them, "skip" none, "all" each. A reminder that comes once is always delivered.

        Raises ValueError or TypeError for values that make no sense, RuntimeError if the class has no `on_reminder`,
        and StorageError if it was not stored, or perhaps not.
        """
        ...

    async def cancel(self, reminder: str | Reminder) -> bool:
        """Remove the reminder of this name, or exactly this one. False: there is none, or another has its name.

        After this no tick of it begins. Raises StorageError.
        """
        ...

    async def get(self, name: str) -> Reminder | None:
        """The reminder of this name. Raises StorageError."""
        ...

    async def list(self) -> list[Reminder]:
        """All reminders of the grain, by name. Raises StorageError."""
        ...


class Jobs(Protocol):
    """Durable one-shot jobs for grains: `self.jobs` of a grain, and `silo.jobs`.

    A job is a call of `async def on_job(self, job: Job) -> None` that survives every restart. It runs at its time or
    later, at least once: again after an error, by the rule of its `Retry`, and after the death of a silo. A job that
    has failed too often is parked: kept with its error until an operator retries or cancels it.
    """

    async def schedule(
        self,
        grain: Addressable,
        due: float | timedelta | datetime = 0.0,
        *,
        name: str = "",
        payload: Any = None,
        metadata: Mapping[str, str] | None = None,
        retry: Retry | None = None,
    ) -> ScheduledJob:
        """Schedule a job of this grain, given as a reference. Durable once it has returned.

        `due`: in so many seconds from now, or at a date with a time zone; a past one runs at once. `payload` is a value
        of JSON. Jobs may have equal names. Raises ValueError or TypeError for values that make no sense, RuntimeError
        if the class has no `on_job`, and StorageError if it was not stored, or perhaps not.
        """
        ...

    async def cancel(self, job: ScheduledJob) -> bool:
        """Remove a job. False: it has run, or is cancelled already. A run that has begun goes on.

        Raises StorageError.
        """
        ...

    async def list(self, grain: Addressable) -> list[ScheduledJob]:
        """The jobs of a grain that have not run, with the parked ones; the earliest first. Raises StorageError."""
        ...


class TakesTicks(Protocol):
    """The part of an activation that runs its hooks for reminders and jobs."""

    async def take_tick(self, grain: Any, tick: Tick) -> bool:
        """Run `on_reminder`, unless it has run for this tick. False: the reminder was cancelled or replaced since."""
        ...

    async def take_job(self, grain: Any, job: Job) -> bool:
        """Run `on_job`, unless it has run for this job. False: the job was cancelled since."""
        ...


async def _tick(grain: Any, tick: Tick) -> bool | None:
    """The hidden method for ticks."""
    return await cast("TakesTicks", grain._grange.reminders).take_tick(grain, tick)


async def _job(grain: Any, job: Job) -> bool | None:
    """The hidden method for jobs."""
    return await cast("TakesTicks", grain._grange.reminders).take_job(grain, job)


_HOOKS: Mapping[str, tuple[str, Any, Mapping[str, Any]]] = {
    "on_reminder": (f"{HOOK}reminder", _tick, {"tick": Tick, "return": bool | None}),
    "on_job": (f"{HOOK}job", _job, {"job": Job, "return": bool | None}),
}

DELIVERED = {hook: method for hook, (method, _, _) in _HOOKS.items()}
"""The hooks that a delivery calls, with their hidden methods."""


def taken_method(owner: str, hook: str) -> MethodSpec:
    """The hidden method as a class takes it: under the name of the hook, which its filters and figures show."""
    _, function, hints = _HOOKS[hook]
    return MethodSpec(owner, Declared(hook, function, object, NO_OPTIONS), hints)


def sent_method(hook: str) -> MethodSpec:
    """The same method as a silo sends it, to grains of any type."""
    method, function, hints = _HOOKS[hook]
    return MethodSpec("(reminders)", Declared(method, function, object, NO_OPTIONS), hints)


class MakesReminders(Protocol):
    """Makes the reminders of an activation; `reminders/` implements it."""

    def __call__(self, grain_id: GrainId, cls: type, /) -> Reminders:
        """The reminders of this activation of a grain class."""
        ...
