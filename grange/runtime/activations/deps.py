"""The parts of a silo that its activations share."""

from __future__ import annotations

import random

import msgspec

from grange.aio.eager import EagerStart
from grange.aio.loop_binding import LoopBinding
from grange.aio.portions import Pace
from grange.aio.tasks import Tasks
from grange.grains.ref import GrainFactory
from grange.observability.spans import Spans
from grange.proto.faults import Faults
from grange.proto.ids import SiloAddress
from grange.runtime.gate import Gate
from grange.runtime.options import RuntimeOptions


class ActivationDeps(msgspec.Struct, frozen=True, eq=False):
    """The parts that all activations of one silo share. Made once at start-up."""

    address: SiloAddress
    options: RuntimeOptions
    grains: GrainFactory
    faults: Faults
    eager: EagerStart
    tasks: Tasks
    random: random.Random
    binding: LoopBinding
    gate: Gate = msgspec.field(default_factory=Gate)
    pace: Pace = msgspec.field(default_factory=Pace)  # of the activations that begin
    spans: Spans | None = None
