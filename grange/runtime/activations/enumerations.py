"""The live enumerations of a silo: the generators of streamed methods whose items callers fetch (`enumeration.py`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Collection
from typing import Any

from grange.grains.context import context_values, current_turn
from grange.grains.deactivation import DeactivationReason
from grange.grains.items import BATCH_KEY, MOST_ITEMS, State
from grange.proto.identity import decode_identity
from grange.proto.message import Reason
from grange.runtime.activations.enumeration import Enumerating, Enumeration
from grange.runtime.requests.invocation import Invocation
from grange.runtime.requests.plan import Batch, StreamPlan
from grange.runtime.requests.refusal import Refused
from grange.runtime.requests.scope import Scope
from grange.security.policy import caller_of, continues

SWEEPS = 4
"""Looks for abandoned enumerations within the time after which one is ended."""

WIND_UP = 5.0
"""Seconds that the enumerations of an ending activation get to end by themselves, so that a planned stop breaks no
short one. An endless one delays the stop by as much."""


class Enumerations:
    """The live enumerations of one silo, by activation and number. One that no caller fetches from is ended."""

    def __init__(self) -> None:
        self._live: dict[Enumerating, dict[int, Enumeration]] = {}
        self._count = 0
        self._begun: Counter[str] = Counter()  # by caller; only clients
        self._timer: asyncio.TimerHandle | None = None

    def of(self, activation: Enumerating) -> Collection[Enumeration]:
        """Those of this activation whose code has not ended, or whose end no caller knows yet."""
        found = self._live.get(activation)
        return () if found is None else found.values()

    def open(self, activation: Enumerating, plan: StreamPlan, items: AsyncGenerator[Any, None]) -> Awaitable[Batch]:
        """Begin an enumeration, and fetch its first batch. Raises Refused before the generator runs."""
        options = activation.deps.options
        if not activation.takes_enumerations:
            raise Refused(Reason.NOT_HERE, "the activation ends")
        caller = _caller()
        self._check_room(activation, caller)
        number = activation.deps.new_number()
        enumeration = Enumeration(activation, plan, items, number, caller, self._remove)
        enumeration.principal = _principal()
        self._live.setdefault(activation, {})[number] = enumeration
        self._count += 1
        if caller:
            self._begun[caller] += 1
        activation.figures.enumerations += 1
        if self._timer is None:
            self._look_later(options.enumeration_timeout)
        return enumeration.fetch(_batch_size(context_values.get().get(BATCH_KEY)))

    def _check_room(self, activation: Enumerating, caller: str) -> None:
        """Raise Refused if there are too many, in the silo, of the caller, or of the activation."""
        options, here, begun = activation.deps.options, len(self.of(activation)), self._begun.get(caller, 0)
        if self._count >= options.enumerations_per_silo:
            found = f"the silo has {self._count}"
        elif begun >= options.enumerations_per_caller:
            found = f"the caller has {begun} of this silo's"
        elif here >= options.enumerations_per_activation:
            found = f"the activation has {here}"
        else:
            return
        raise Refused(Reason.OVERLOADED, f"{found} live enumerations", None, 1.0)

    async def fetch(self, activation: Enumerating, number: int, most: int) -> Batch:
        """The next batch; one that says so if there is no such enumeration. Raises Refused for another caller."""
        enumeration = self._live.get(activation, {}).get(number)
        if enumeration is None or enumeration.is_over:
            seconds = activation.deps.options.enumeration_timeout
            note = f"its activation has ended, or no item was fetched for {seconds:g} s"
            return Batch(number, State.ABORTED, [], note)
        _check_caller(enumeration)
        return await enumeration.fetch(_batch_size(most))

    async def close(self, activation: Enumerating, number: int, wait: bool) -> None:
        """End an enumeration, if it is live, and its generator. With `wait`, raises the error of its clean-up.

        Raises Refused for another caller.
        """
        enumeration = self._live.get(activation, {}).get(number)
        if enumeration is None or enumeration.is_over:
            return
        _check_caller(enumeration, ends=True)
        if wait:
            await enumeration.close()
        else:
            enumeration.abandon("its caller was cancelled")

    def behind(self, activation: Enumerating, future: asyncio.Future[Any]) -> asyncio.Task[None] | None:
        """The task of the generator for whose items a fetch waits at this future; None: it waits for something else."""
        return next((each.task for each in self.of(activation) if each.waits_at(future)), None)

    def wind_up(self, activation: Enumerating, reason: DeactivationReason | None) -> None:
        """The activation ends: end the enumerations that do not end by themselves in `WIND_UP` seconds."""
        if activation in self._live:
            asyncio.get_running_loop().call_later(WIND_UP, self.abandon, activation, reason)

    def abandon(self, activation: Enumerating, reason: DeactivationReason | None) -> None:
        """End all enumerations of an activation. A caller that waits for items is told; no other can fetch any more."""
        for enumeration in list(self.of(activation)):
            enumeration.abandon(f"the activation ends: {reason}")

    async def ended(self, activation: Enumerating) -> None:
        """Wait until the code of all enumerations of this activation has ended."""
        while found := [each.task for each in self.of(activation) if not each.task.done()]:
            await asyncio.wait(found)

    def _remove(self, enumeration: Enumeration) -> None:
        here = self._live[enumeration.activation]
        del here[enumeration.number]
        self._count -= 1
        if enumeration.caller:
            self._begun[enumeration.caller] -= 1
            if not self._begun[enumeration.caller]:
                del self._begun[enumeration.caller]
        enumeration.activation.figures.enumerations -= 1
        if not here:
            del self._live[enumeration.activation]
        enumeration.activation.enumeration_ended()
        if not self._live and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds / SWEEPS, self._look, seconds)

    def _look(self, seconds: float) -> None:
        """End those that were abandoned."""
        limit = asyncio.get_running_loop().time() - seconds
        self._look_later(seconds)
        for enumeration in [each for here in self._live.values() for each in here.values()]:
            if enumeration.fetched_at <= limit:
                enumeration.abandon(f"no item was fetched for {seconds:g} s")


def _caller() -> str:
    """The client that began the running turn; empty: code of a silo."""
    turn = current_turn.get()
    call = turn.turn if isinstance(turn, Scope) else turn
    return call.caller if isinstance(call, Invocation) else ""


def _principal() -> bytes:
    """The identity of the running turn."""
    turn = current_turn.get()
    return b"" if turn is None else turn.principal


def _check_caller(enumeration: Enumeration, ends: bool = False) -> None:
    """Raise Refused for a caller that has not begun this enumeration. `ends`: it only ends it."""
    principal = _principal()
    if principal != enumeration.principal:
        begun, now = decode_identity(enumeration.principal), decode_identity(principal)
        if begun is None or now is None or not continues(now, begun, ends):
            text = f"the enumeration was begun for another caller than {caller_of(now)}"
            raise Refused(Reason.UNAUTHORIZED, text)


def _batch_size(given: object) -> int:
    """The most items of a batch that a caller asks for."""
    return min(given, MOST_ITEMS) if isinstance(given, int) and given > 0 else MOST_ITEMS
