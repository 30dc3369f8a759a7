"""The contract of a workload, and the parts of a simulation that it uses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from grange.client.client import Client
from grange.grains.grain import Grain
from grange.testing.checks.history import Event, Recorder, Violation
from grange.testing.simulation.event_log import EventLog
from grange.testing.simulation.turns import Note

RESPONSE_TIMEOUT = 10.0
"""Response time-out of each call, in seconds."""


class Scene(msgspec.Struct, frozen=True, eq=False):
    """The parts of a simulation that its workloads use.

    `keys` is the number of grains of each kind, `pace` the mean time in seconds between two calls of one client.
    """

    recorder: Recorder
    event_log: EventLog
    keys: int
    pace: float

    async def call(self, client: str, op: str, key: str, value: Any, send: Callable[[Event], Awaitable[Any]]) -> Event:
        """Make one call of this client by `send`, and record it with its outcome for the checkers.

        `send` takes the event, whose client and number name the call in the turn log. Returns the event of the end.
        """
        call = self.recorder.invoke(client, op, key, value)
        try:
            result = await send(call)
        except Exception as error:
            ended = self.recorder.failed(call, error)
            self.event_log.record(f"call_{ended.kind}", f"{op} {key} {ended.error}")
        else:
            ended = self.recorder.ok(call, result)
            self.event_log.record("call_ok", f"{op} {key} {result}")
        return ended


class Actor(msgspec.Struct, frozen=True, eq=False):
    """One client of a simulation while it is connected. `rng` is its own for this workload, for the whole run."""

    name: str
    client: Client
    rng: random.Random
    is_running: Callable[[], bool]

    async def pause(self, mean: float) -> None:
        """Wait for a random time, `mean` seconds on average."""
        await asyncio.sleep(self.rng.expovariate(1 / mean))


class Ended(msgspec.Struct, frozen=True):
    """What the checks see at the end: all calls of all workloads, the stored values and payloads by record.

    `notes` are those of the grains. The last fault ended at `quiet_since`, the run at `until`. `stable`: no fault was
    injected.
    """

    history: Sequence[Event]
    stored: Mapping[str, int]
    notes: Sequence[Note]
    quiet_since: float
    until: float
    payloads: Mapping[str, bytes]
    stable: bool


class Workload(Protocol):
    """One kind of load. Made once for each simulation, with its `Scene`.

    Each client runs `act` while it is connected, beside those of the other workloads. The keys in the history should
    tell the workloads apart.
    """

    def __init__(self, scene: Scene) -> None: ...

    @property
    def name(self) -> str:
        """Its name, from which the seed of its random numbers is derived."""
        ...

    def grains(self, machine: int) -> Sequence[type[Grain[Any]]]:
        """The classes that the silos of this machine (1, 2, …) host."""
        ...

    async def act(self, actor: Actor) -> None:
        """Make the calls of one client while `actor.is_running()`. Called again after a lost connection."""
        ...

    def check(self, ended: Ended) -> Iterable[Violation]:
        """Check the invariants of this workload after the quiet period."""
        ...
