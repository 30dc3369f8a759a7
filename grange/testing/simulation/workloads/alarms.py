"""Reminders that clients set and cancel: none is early, off its cadence, forgotten, or delivered after its end (I5).

Each client has grains of its own, so what it did last is what counts. The grains note each tick.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from grange.grains.grain import Grain
from grange.grains.tick import MissedTicks, Tick
from grange.reminders.schedule import SECOND
from grange.testing.checks import reminders
from grange.testing.checks.history import Event, Operation, Violation, operations
from grange.testing.checks.reminders import Armed, Came, Faults, Life
from grange.testing.simulation.turns import SiloTurnLog
from grange.testing.simulation.wall_clock import EPOCH
from grange.testing.simulation.workloads.contract import RESPONSE_TIMEOUT, Actor, Ended, Scene

ALARMS = 3
"""Grains of each client."""

PERIODS = (2, 3, 5, 8)
"""Seconds."""

CATCH_UP = 25.0
"""Seconds from the end of all faults until reminders are in time again, and all that is due has come."""

LONGEST_OUTAGE = 80.0
"""Seconds for which faults may keep a reminder from coming: its owner dead, and the membership table lost."""

UNSURE = 3 * RESPONSE_TIMEOUT
"""Seconds for which a call whose outcome is unknown may still take effect."""


class SimulatedAlarm(Grain, name="simulated_alarm", idle_timeout=20):
    """A grain with one reminder. The arguments `client` and `call` name the call for the turn log."""

    def __init__(self, turn_log: SiloTurnLog) -> None:
        self.turn_log = turn_log
        self.activation = turn_log.activation()

    async def arm(self, every: int, missed: MissedTicks, client: str, call: int) -> Armed:
        """Set the reminder."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            reminder = await self.reminders.set("alarm", every=every, missed=missed)
            assert reminder.due is not None
            return Armed(reminder.id, _micros(reminder.due.timestamp()), every * SECOND)

    async def disarm(self, client: str, call: int) -> bool:
        """Cancel it."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            return await self.reminders.cancel("alarm")

    async def on_reminder(self, tick: Tick) -> None:
        """Note it."""
        self.turn_log.note("tick", str(self.key), [tick.id, _micros(tick.scheduled.timestamp()), tick.missed])


class Alarms:
    """Reminders that are set and cancelled at random times."""

    name = "alarms"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """See `Workload`."""
        return (SimulatedAlarm,)

    async def act(self, actor: Actor) -> None:
        """See `Workload`."""
        rng = actor.rng
        while actor.is_running():
            await actor.pause(self._scene.pace * 8)
            key = f"a-{actor.name}-{rng.randrange(ALARMS)}"
            missed: MissedTicks = "once" if rng.random() < 0.5 else "all"
            every, arms = rng.choice(PERIODS), rng.random() < 0.6
            await (self._arm(actor, key, every, missed) if arms else self._disarm(actor, key))

    async def _arm(self, actor: Actor, key: str, every: int, missed: MissedTicks) -> None:
        alarm = actor.client.get_grain(SimulatedAlarm, key)

        async def send(call: Event) -> Armed:
            return await alarm.arm(every, missed, actor.name, call.call)

        await self._scene.call(actor.name, "arm", key, None, send)

    async def _disarm(self, actor: Actor, key: str) -> None:
        alarm = actor.client.get_grain(SimulatedAlarm, key)

        async def send(call: Event) -> bool:
            return await alarm.disarm(actor.name, call.call)

        await self._scene.call(actor.name, "disarm", key, None, send)

    def check(self, ended: Ended) -> Iterable[Violation]:
        """See `Workload`."""
        came: dict[str, list[Came]] = {}
        for note in ended.notes:
            if note.kind == "tick":
                came.setdefault(note.key, []).append(Came(_store_time(note.t), *note.value))
        calls: dict[str, list[Operation]] = {}
        for call in operations(event for event in ended.history if event.key.startswith("a-")):
            calls.setdefault(call.invoke.key, []).append(call)
        settled = 0.0 if ended.stable else ended.quiet_since + CATCH_UP
        slack = reminders.LATE if ended.stable else int(LONGEST_OUTAGE * SECOND)
        faults = Faults(_store_time(settled), _store_time(ended.until), slack, ended.stable)
        for key, mine in came.items():
            yield from reminders.ticks(key, mine)
        for key, made in calls.items():
            yield from reminders.lives(_lives(key, made, ended.until), came.get(key, []), faults)


def _lives(key: str, calls: Sequence[Operation], until: float) -> Iterator[Life]:
    """The reminders that were certainly set, and are not in doubt because of an earlier call with an unknown outcome.

    One is certainly gone when a later call about it has returned, and may be gone when any later call began that may
    have run.
    """
    for place, call in enumerate(calls):
        doubts = (each.invoke.t for each in calls[:place] if each.kind == "unknown")
        if call.invoke.op != "arm" or call.kind != "ok" or any(t > call.invoke.t - UNSURE for t in doubts):
            continue
        assert call.end is not None
        later = [each for each in calls[place + 1 :] if each.kind != "fail"]
        ends = [each.end.t for each in later if each.kind == "ok" and each.end is not None]
        yield Life(
            key,
            call.end.value,
            _store_time(call.end.t),
            _store_time(later[0].invoke.t if later else until),
            _store_time(ends[0]) if ends else None,
        )


def _micros(seconds: float) -> int:
    return round(seconds * SECOND)


def _store_time(t: float) -> int:
    """The clock of the store at this time of the simulation."""
    return _micros(EPOCH.timestamp() + t)
