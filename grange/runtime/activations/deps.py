"""The parts of a silo that its activations share."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from grange.aio.blocking_threads import BlockingThreads
from grange.aio.eager import EagerStart
from grange.aio.loop_binding import LoopBinding
from grange.aio.portions import Pace
from grange.aio.tasks import Tasks
from grange.grains.finding import GrainFinder
from grange.grains.ref import GrainFactory
from grange.grains.service import GetsServices
from grange.grains.tick import Jobs, MakesReminders
from grange.observability.counters import CallFigures
from grange.observability.events import Events
from grange.observability.spans import Spans
from grange.proto.faults import Faults
from grange.proto.ids import GrainId, SiloAddress
from grange.runtime.activations.enumerations import Enumerations
from grange.runtime.activations.hold_down import HoldDown
from grange.runtime.activations.moves import Moves
from grange.runtime.activations.recent_calls import RecentCalls
from grange.runtime.activations.transitions import Transition
from grange.runtime.gate import Gate
from grange.runtime.options import BLOCKING_THREADS, RuntimeOptions
from grange.runtime.requests.invocation import Invocation


class ActivationDeps(msgspec.Struct, frozen=True, eq=False):
    """The parts that all activations of one silo share. Made once at start-up.

    `turns`: those that have been suspended and have not ended, in the order of their starts. `epoch`: the Unix time at
    which the loop's time was 0, by this silo's clock. `watched`: the last calls of grains that an operator looks at.
    `queues`: the activations with a mailbox. `transitions`: activations whose beginning or end may wait, in that order.
    `holds`: grains that fail to activate. `get_service` makes references to silo services. `reminders` makes those of
    an activation; None: the storage of this silo keeps none, nor `jobs`. `finder` finds stored grains.
    """

    address: SiloAddress
    options: RuntimeOptions
    grains: GrainFactory
    faults: Faults
    eager: EagerStart
    tasks: Tasks
    random: random.Random
    binding: LoopBinding
    gate: Gate = msgspec.field(default_factory=Gate)
    figures: CallFigures = msgspec.field(default_factory=CallFigures)
    turns: dict[Invocation, None] = msgspec.field(default_factory=dict)
    epoch: float = 0.0
    watched: dict[GrainId, RecentCalls] = msgspec.field(default_factory=dict)
    queues: dict[Any, None] = msgspec.field(default_factory=dict)
    transitions: dict[Transition, None] = msgspec.field(default_factory=dict)
    holds: HoldDown = msgspec.field(default_factory=HoldDown)
    enumerations: Enumerations = msgspec.field(default_factory=Enumerations)
    pace: Pace = msgspec.field(default_factory=Pace)  # of the activations that begin
    moves: Moves = msgspec.field(default_factory=Moves)
    threads: BlockingThreads = msgspec.field(default_factory=lambda: BlockingThreads(BLOCKING_THREADS))
    spans: Spans | None = None
    events: Events | None = None
    get_service: GetsServices | None = None
    finder: GrainFinder | None = None
    reminders: MakesReminders | None = None
    jobs: Jobs | None = None

    def new_activation_id(self, now: float) -> int:
        """A number of 128 bits for an activation that begins at this loop time: the milliseconds, then 80 random bits.

        So its age costs no memory. No decision uses the time, which is that of one silo's clock.
        """
        return int((self.epoch + now) * 1000) % 2**48 << 80 | self.random.getrandbits(80)

    def new_number(self) -> int:
        """A random number of an enumeration, below 2 to the 53: JSON carries it exactly."""
        return self.random.getrandbits(53)

    def age(self, activation_id: int, now: float) -> float:
        """Seconds since that activation of this silo began."""
        return max(0.0, self.epoch + now - (activation_id >> 80) / 1000)
