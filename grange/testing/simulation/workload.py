"""The workload of a simulation: counters and registers that record every turn, and the clients that call them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from grange.client.client import Client
from grange.grains.grain import Grain
from grange.storage.state import PersistentState
from grange.testing.checks.history import Event, Recorder
from grange.testing.checks.outcomes import Execution
from grange.testing.checks.writers import Turn
from grange.testing.simulation.event_log import EventLog
from grange.testing.simulation.loop import Process

RESPONSE_TIMEOUT = 10.0
"""Response time-out of each call, in seconds."""


class TurnLog:
    """The turns that the grains of one simulation ran."""

    def __init__(self, event_log: EventLog) -> None:
        self.event_log = event_log
        self.executed: list[Execution] = []
        self.turns: list[Turn] = []
        self._activations = 0

    def next_activation(self) -> int:
        """Return the number of a new activation."""
        self._activations += 1
        return self._activations


class SiloTurnLog:
    """Records the turns of one silo, until its process is killed."""

    def __init__(self, turn_log: TurnLog, process: Process) -> None:
        self._turn_log = turn_log
        self._process = process

    def activation(self) -> str:
        """Return the name of a new activation."""
        return f"{self._process.name}/{self._turn_log.next_activation()}"

    @contextmanager
    def turn(self, grain: str, activation: str, client: str, call: int) -> Generator[None]:
        """Record the turn in this block: its call, its beginning and its end."""
        began = self._turn_log.event_log.now()
        if self._process.alive:
            self._turn_log.executed.append(Execution(client, call))
        try:
            yield
        finally:
            if self._process.alive:
                self._turn_log.turns.append(Turn(began, self._turn_log.event_log.now(), grain, activation))


@dataclass
class State:
    """The state of both grains: a value, and the activation that wrote it."""

    value: int = 0
    writer: str = ""


class SimulatedCounter(Grain, name="simulated_counter", idle_timeout=60):
    """A counter. The arguments `client` and `call` name the call for the turn log."""

    def __init__(self, state: PersistentState[State], turn_log: SiloTurnLog) -> None:
        self.state = state
        self.turn_log = turn_log
        self.activation = turn_log.activation()

    async def increment(self, client: str, call: int) -> int:
        """Add 1 and return the new value."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            self.state.value = State(self.state.value.value + 1, self.activation)
            await self.state.write()
            return self.state.value.value

    async def read(self, client: str, call: int) -> int:
        """Return the value."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            return self.state.value.value

    async def increment_other(self, other: str, client: str, call: int) -> int:
        """Increment another counter through this one."""
        return await self.get_grain(SimulatedCounter, other).increment(client, call)


class SimulatedRegister(Grain, name="simulated_register", idle_timeout=20):
    """A value to compare and swap."""

    def __init__(self, state: PersistentState[State], turn_log: SiloTurnLog) -> None:
        self.state = state
        self.turn_log = turn_log
        self.activation = turn_log.activation()

    async def cas(self, expected: int, new: int, client: str, call: int) -> bool:
        """Set the value to `new` if it is `expected`; return whether it was."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            if self.state.value.value != expected:
                return False
            self.state.value = State(new, self.activation)
            await self.state.write()
            return True

    async def read(self, client: str, call: int) -> int:
        """Return the value."""
        with self.turn_log.turn(str(self.id), self.activation, client, call):
            return self.state.value.value


GRAINS: tuple[type[Grain[str]], ...] = (SimulatedCounter, SimulatedRegister)


class Worker:
    """One client that makes calls, with random pauses between them."""

    def __init__(self, name: str, recorder: Recorder, event_log: EventLog, rng: random.Random, pace: float) -> None:
        self.name = name
        self._recorder = recorder
        self._event_log = event_log
        self._rng = rng
        self._pace = pace
        self._seen: dict[str, int] = {}

    async def work(self, client: Client, keys: int, is_running: Callable[[], bool]) -> None:
        """Make calls while `is_running()`."""
        while is_running():
            await asyncio.sleep(self._rng.expovariate(1 / self._pace))
            await self.call_at_random(client, keys)

    async def call_at_random(self, client: Client, keys: int) -> None:
        """Make one call of a random kind."""
        # The lower key calls the higher one: counters that call each other in a cycle would deadlock.
        one, other = self._rng.sample(range(keys), 2)
        key = f"k{one}"
        draw = self._rng.random()
        if draw < 0.4:
            await self.call(client, "increment", f"c-{key}")
        elif draw < 0.5:
            await self.call(client, "increment", f"c-k{max(one, other)}", through=f"c-k{min(one, other)}")
        elif draw < 0.65:
            await self.call(client, "read", f"c-{key}")
        elif draw < 0.8:
            await self.call(client, "read", f"r-{key}")
        else:
            await self.call(client, "cas", f"r-{key}")

    async def call(self, client: Client, op: str, key: str, through: str = "") -> None:
        """Make one call and record its outcome for the checkers."""
        value: list[int] | None = None
        if op == "cas":
            value = [self._seen.get(key, 0), self._rng.randrange(1, 1_000_000)]
        call = self._recorder.invoke(self.name, op, key, value)
        try:
            result = await self._send(client, call, through)
        except Exception as error:
            ended = self._recorder.failed(call, error)
            self._event_log.record(f"call_{ended.kind}", f"{op} {key} {ended.error}")
        else:
            self._recorder.ok(call, result)
            self._event_log.record("call_ok", f"{op} {key} {result}")
            if key.startswith("r-"):
                self._seen[key] = value[1] if value and result else self._seen.get(key, 0) if value else int(result)

    async def _send(self, client: Client, call: Event, through: str) -> int | bool:
        if call.key.startswith("c-"):
            counter = client.get_grain(SimulatedCounter, through or call.key)
            if through:
                return await counter.increment_other(call.key, self.name, call.call)
            if call.op == "increment":
                return await counter.increment(self.name, call.call)
            return await counter.read(self.name, call.call)
        register = client.get_grain(SimulatedRegister, call.key)
        if call.op == "cas":
            return await register.cas(call.value[0], call.value[1], self.name, call.call)
        return await register.read(self.name, call.call)
