"""Grains that keep a number in memory only and move: what was acknowledged moves along, and is never continued twice.

A grain whose memory is lost begins a new epoch. Within an epoch each acknowledged addition has a number of its own, and
numbers rise. Without faults no memory is lost, so each grain has one epoch, although it moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from grange.grains.grain import Grain
from grange.testing.checks.history import Event, Operation, Violation, operations
from grange.testing.simulation.turns import SiloTurnLog
from grange.testing.simulation.workloads.contract import Actor, Ended, Scene

MOVE_SHARE = 0.15
"""Share of the calls after which the grain moves."""


class SimulatedMover(Grain, name="simulated_mover", placement="least_loaded", idle_timeout=36_000):
    """A number in memory. The arguments `client` and `call` name the call for the turn log."""

    def __init__(self, turn_log: SiloTurnLog) -> None:
        self.turn_log = turn_log
        self.activation = turn_log.activation()
        self.epoch = self.activation
        self.number = 0

    async def add(self, moves: bool, client: str, call: int) -> tuple[str, int]:
        """Add 1 and return the epoch and the new number; then move, if asked."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            self.number += 1
            if moves:
                self.migrate_when_idle()
            return self.epoch, self.number

    async def dehydrate(self) -> tuple[str, int]:
        """Carry all of it."""
        return self.epoch, self.number

    async def rehydrate(self, memory: tuple[str, int]) -> None:
        """Continue."""
        self.epoch, self.number = memory


class Movers:
    """Additions, after some of which the grain moves."""

    name = "movers"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """See `Workload`."""
        return (SimulatedMover,)

    async def act(self, actor: Actor) -> None:
        """See `Workload`."""
        while actor.is_running():
            await actor.pause(self._scene.pace * 2)
            key, moves = f"m-k{actor.rng.randrange(self._scene.keys)}", actor.rng.random() < MOVE_SHARE
            await self._add(actor, key, moves)

    async def _add(self, actor: Actor, key: str, moves: bool) -> None:
        mover = actor.client.get_grain(SimulatedMover, key)

        async def send(call: Event) -> tuple[str, int]:
            return await mover.add(moves, actor.name, call.call)

        await self._scene.call(actor.name, "add", key, None, send)

    def check(self, ended: Ended) -> Iterable[Violation]:
        """See `Workload`."""
        calls: dict[str, list[Operation]] = {}
        for call in operations(event for event in ended.history if event.key.startswith("m-")):
            if call.kind == "ok":
                calls.setdefault(call.invoke.key, []).append(call)
        for key, added in calls.items():
            epochs: dict[str, list[Operation]] = {}
            for call in added:
                epochs.setdefault(_value(call)[0], []).append(call)
            if ended.stable and len(epochs) > 1:
                yield Violation("I1", key, f"lost its memory without any fault: epochs {sorted(epochs)}")
            for epoch, same in epochs.items():
                yield from _check_epoch(key, epoch, same)


def _check_epoch(key: str, epoch: str, calls: list[Operation]) -> Iterable[Violation]:
    """Check that no number was given twice, and that a call got a higher one than each call that ended before it."""
    seen: set[int] = set()
    ended: list[tuple[float, int]] = []  # the end and the number of each call, in the order of their ends
    for call in calls:
        number = _value(call)[1]
        if number in seen:
            yield Violation("I2", key, f"gave {number} twice in epoch {epoch}: two activations continued one memory")
        seen.add(number)
        assert call.end is not None
        ended.append((call.end.t, number))
    ended.sort()
    highest, position = 0, 0
    for call in sorted(calls, key=lambda each: each.invoke.t):
        while position < len(ended) and ended[position][0] < call.invoke.t:
            highest, position = max(highest, ended[position][1]), position + 1
        if _value(call)[1] <= highest:
            text = f"gave {_value(call)[1]} in epoch {epoch} after {highest} was acknowledged"
            yield Violation("I1", key, text)


def _value(call: Operation) -> tuple[str, int]:
    assert call.end is not None
    return call.end.value  # type: ignore[no-any-return]
