"""What every activation of one silo shares. Made once at start-up."""

from __future__ import annotations

import random

import msgspec

from grange.aio.tasks import Tasks
from grange.grains.ref import GrainFactory
from grange.proto.faults import Faults
from grange.proto.ids import SiloAddress
from grange.runtime.gate import Gate
from grange.runtime.invoker import Invoker
from grange.runtime.options import RuntimeOptions


class ActivationDeps(msgspec.Struct, frozen=True, eq=False):
    """The silo as its activations see it."""

    here: SiloAddress
    options: RuntimeOptions
    grains: GrainFactory
    faults: Faults
    invoker: Invoker
    tasks: Tasks
    random: random.Random
    gate: Gate = msgspec.field(default_factory=Gate)
