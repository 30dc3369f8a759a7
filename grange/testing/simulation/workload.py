"""What a simulated cluster is kept busy with: counters and registers whose every turn is noted, and their clients."""

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
from grange.testing.simulation.loop import Process
from grange.testing.simulation.trace import Trace

RESPONSE_TIMEOUT = 10.0
"""Seconds that each call may take."""


class Notes:
    """What grains note of their turns, in one simulation."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.executed: list[Execution] = []
        self.turns: list[Turn] = []
        self._activations = 0

    def next_activation(self) -> int:
        """A number for an activation."""
        self._activations += 1
        return self._activations


class Notebook:
    """The notes as one silo writes them: a process that was killed writes nothing any more."""

    def __init__(self, notes: Notes, process: Process) -> None:
        self._notes = notes
        self._process = process

    def activation(self) -> str:
        """The name of a new activation."""
        return f"{self._process.name}/{self._notes.next_activation()}"

    @contextmanager
    def turn(self, grain: str, activation: str, client: str, call: int) -> Generator[None]:
        """Around each turn: which call it is, and from when to when it ran."""
        began = self._notes.trace.now()
        if self._process.alive:
            self._notes.executed.append(Execution(client, call))
        try:
            yield
        finally:
            if self._process.alive:
                self._notes.turns.append(Turn(began, self._notes.trace.now(), grain, activation))


@dataclass
class Kept:
    """The state of both grains: a value and who wrote it."""

    value: int = 0
    writer: str = ""


class SimulatedCounter(Grain, name="simulated_counter", idle_timeout=60):
    """Counts up. Each method says whose call it is."""

    def __init__(self, state: PersistentState[Kept], notebook: Notebook) -> None:
        self.state = state
        self.notebook = notebook
        self.me = notebook.activation()

    async def increment(self, client: str, call: int) -> int:
        """One more; returns the new value."""
        with self.notebook.turn(str(self.id), self.me, client, call):
            self.state.value = Kept(self.state.value.value + 1, self.me)
            return await _stored(self, self.state)

    async def read(self, client: str, call: int) -> int:
        """The value."""
        with self.notebook.turn(str(self.id), self.me, client, call):
            return self.state.value.value

    async def pass_on(self, other: str, client: str, call: int) -> int:
        """Have another counter count."""
        return await self.get_grain(SimulatedCounter, other).increment(client, call)


class SimulatedRegister(Grain, name="simulated_register", idle_timeout=20):
    """A value to compare and swap."""

    def __init__(self, state: PersistentState[Kept], notebook: Notebook) -> None:
        self.state = state
        self.notebook = notebook
        self.me = notebook.activation()

    async def cas(self, expected: int, new: int, client: str, call: int) -> bool:
        """Set the value to `new` if it is `expected`; says whether it was."""
        with self.notebook.turn(str(self.id), self.me, client, call):
            if self.state.value.value != expected:
                return False
            self.state.value = Kept(new, self.me)
            await _stored(self, self.state)
            return True

    async def read(self, client: str, call: int) -> int:
        """The value."""
        with self.notebook.turn(str(self.id), self.me, client, call):
            return self.state.value.value


async def _stored(grain: SimulatedCounter | SimulatedRegister, state: PersistentState[Kept]) -> int:
    """Write, or forget what could not be written: a later turn must not answer with it."""
    try:
        await state.write()
    except Exception:
        grain.deactivate_when_idle()
        raise
    return state.value.value


GRAINS: tuple[type[Grain[str]], ...] = (SimulatedCounter, SimulatedRegister)


class Worker:
    """One client that calls, thinks, and calls again."""

    def __init__(self, name: str, recorder: Recorder, trace: Trace, rng: random.Random, pace: float) -> None:
        self.name = name
        self._recorder = recorder
        self._trace = trace
        self._rng = rng
        self._pace = pace
        self._seen: dict[str, int] = {}

    async def work(self, client: Client, keys: int, going: Callable[[], bool]) -> None:
        """Call as long as it goes on."""
        while going():
            await asyncio.sleep(self._rng.expovariate(1 / self._pace))
            await self.one(client, keys)

    async def one(self, client: Client, keys: int) -> None:
        """One call of a random kind."""
        # Two keys in order: counters that call each other in a circle would wait for each other.
        one, other = self._rng.sample(range(keys), 2)
        key = f"k{one}"
        dice = self._rng.random()
        if dice < 0.4:
            await self.call(client, "increment", f"c-{key}")
        elif dice < 0.5:
            await self.call(client, "increment", f"c-k{max(one, other)}", through=f"c-k{min(one, other)}")
        elif dice < 0.65:
            await self.call(client, "read", f"c-{key}")
        elif dice < 0.8:
            await self.call(client, "read", f"r-{key}")
        else:
            await self.call(client, "cas", f"r-{key}")

    async def call(self, client: Client, op: str, key: str, through: str = "") -> None:
        """One recorded call; how it ends is for the checkers."""
        value: list[int] | None = None
        if op == "cas":
            value = [self._seen.get(key, 0), self._rng.randrange(1, 1_000_000)]
        call = self._recorder.invoke(self.name, op, key, value)
        try:
            result = await self._ask(client, call, through)
        except Exception as error:
            ended = self._recorder.failed(call, error)
            self._trace.saw(f"call_{ended.kind}", f"{op} {key} {ended.error}")
        else:
            self._recorder.ok(call, result)
            self._trace.saw("call_ok", f"{op} {key} {result}")
            if key.startswith("r-"):
                self._seen[key] = value[1] if value and result else self._seen.get(key, 0) if value else int(result)

    async def _ask(self, client: Client, call: Event, through: str) -> int | bool:
        if call.key.startswith("c-"):
            counter = client.get_grain(SimulatedCounter, through or call.key)
            if through:
                return await counter.pass_on(call.key, self.name, call.call)
            if call.op == "increment":
                return await counter.increment(self.name, call.call)
            return await counter.read(self.name, call.call)
        register = client.get_grain(SimulatedRegister, call.key)
        if call.op == "cas":
            return await register.cas(call.value[0], call.value[1], self.name, call.call)
        return await register.read(self.name, call.call)
