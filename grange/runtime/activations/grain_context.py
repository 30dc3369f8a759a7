"""What the code of a grain may do with its activation: `grains.grain.GrainContext`, except for its turns."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from grange.grains.context import current_activation
from grange.grains.definition import Addressable
from grange.grains.grain import Timer
from grange.grains.service import SiloService
from grange.proto.ids import GrainId
from grange.proto.keys import Key, decode_key
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.activations.hosted import HostedType
from grange.runtime.activations.phase import SELF_DEACTIVATED
from grange.runtime.activations.timers import GrainTimer
from grange.runtime.requests.invocation import Invocation

G = TypeVar("G", bound=Addressable)
S = TypeVar("S", bound=SiloService)


class ActivationContext:
    """The part of an `Activation` that its grain uses; `Activation` sets the attributes.

    `keep_until`: loop time before which the idle collector must not end it.
    """

    __slots__ = ("grain_id", "hosted", "keep_until", "timers")

    grain_id: GrainId
    hosted: HostedType
    timers: tuple[GrainTimer, ...]
    keep_until: float

    @property
    def deps(self) -> ActivationDeps:
        """The parts that all activations of this silo share."""
        raise NotImplementedError

    def receive(self, call: Invocation) -> None:
        """Take one request for this grain."""
        raise NotImplementedError

    def deactivate(self, reason: str) -> None:
        """End after the running requests."""
        raise NotImplementedError

    def check_turn(self) -> None:
        """Raise RuntimeError unless the running code is a turn of this activation, in the silo's event loop."""
        self._check_loop(f"use of the state of {self.grain_id}")
        if current_activation.get() is not self:
            raise RuntimeError(
                f"the state of {self.grain_id} belongs to its activation; use it only in the turns of that activation"
            )

    def _check_loop(self, action: str) -> None:
        """Raise WrongLoop in a thread or another loop: `asyncio.to_thread` takes the context of the turn along."""
        self.deps.binding.check(action)

    @property
    def key(self) -> Key:
        """The key, in the type that the class declares."""
        return decode_key(self.hosted.options.key, self.grain_id.key)

    def reference(self) -> Any:
        """A reference to this grain."""
        return self.deps.grains.from_id(self.hosted.cls, self.grain_id)

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """A reference to another grain."""
        return self.deps.grains.get_grain(grain, key, implementation=implementation)

    def get_service(self, service: type[S], key: Key) -> S:
        """A reference to a silo service."""
        if self.deps.get_service is None:
            raise RuntimeError(f"{self.grain_id} runs outside a silo, where no silo service runs")
        return self.deps.get_service(service, key)

    def start_timer(
        self,
        callback: Callable[[], Awaitable[None]],
        due: float,
        period: float | None,
        interleave: bool,
        keep_alive: bool,
    ) -> Timer:
        """Start a timer that ends with this activation."""
        timer = GrainTimer(self.grain_id, callback, self.receive, interleave, keep_alive, self.deps)
        timer.change(due, period)
        self.timers = (*(other for other in self.timers if not other.stopped), timer)
        return timer

    def deactivate_when_idle(self) -> None:
        """End after the running requests."""
        self._check_loop(f"deactivate_when_idle of {self.grain_id}")
        self.deactivate(SELF_DEACTIVATED)

    def delay_deactivation(self, seconds: float) -> None:
        """Keep this activation from the idle collector for `seconds` from now; 0 cancels the delay."""
        if math.isnan(seconds) or seconds < 0:
            raise ValueError(f"delay_deactivation takes 0 or more seconds, not {seconds!r}")
        self._check_loop(f"delay_deactivation of {self.grain_id}")
        self.keep_until = asyncio.get_running_loop().time() + seconds if seconds else -math.inf
