"""The system target by which clients read the view of this silo, at once or when it changes.

Clients find their gateways by it. A client that has one view waits here for the next one, and so learns of a death by
the gossip of the silos, also when none of its connections breaks.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

import msgspec

from grange.aio.signal import Signal
from grange.membership.agent import MembershipAgent
from grange.membership.model.member import View
from grange.proto.acts import Level
from grange.proto.management import MOST_WAIT, VIEW, ViewQuestion, encode
from grange.runtime.calls.admission import LARGE, Admission
from grange.runtime.system_target import SYSTEM_TYPE, SystemTargets

APART = 0.00025
"""Seconds between two answers to waiting reads, on average, while a new view is sent. Their order is by chance."""

MOST_SPREAD = 1.0
"""Seconds within which all answers with a new view have left, however many wait."""

SHARE = 4
"""Waiting reads take this part (one in `SHARE`) of the requests, and of the bytes of answers, that a silo admits."""

_decode = msgspec.msgpack.Decoder(ViewQuestion).decode


class ViewReads:
    """The reads of the view of one silo. `end` is called once, before the silo closes its connections."""

    def __init__(self, agent: MembershipAgent, admission: Admission, rng: Random) -> None:
        self._agent = agent
        self._options = admission.options
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._changed = Signal()
        self._ended = asyncio.Event()
        self._newest = (-1, b"")  # the version of the newest view that was sent, and its bytes
        self.waiting = 0
        """The reads that wait now."""
        admission.sizes.small.add((SYSTEM_TYPE, VIEW))  # else a first read that waits keeps room for an unknown answer
        agent.subscribe(self._on_view)

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target, to all peers: a client finds the cluster by it."""
        targets.serve(VIEW, self.answer, Level.NONE)

    async def answer(self, question: bytes) -> bytes:
        """The newest view. With a `ViewQuestion` it waits for a newer view than that of the question."""
        if question:
            await self._wait(_decode(question))
        return self._encoded()

    def end(self) -> None:
        """Answer the waiting reads now, and from now on each read at once: this silo closes its connections."""
        self._ended.set()
        self._changed.fire()

    async def _wait(self, asked: ViewQuestion) -> None:
        if self._ended.is_set() or self._agent.view.version > asked.version or self.waiting >= self._most():
            return
        deadline = self._loop.time() + min(MOST_WAIT, asked.seconds)  # in this order: the number of a peer may be nan
        self.waiting += 1
        try:
            while not self._ended.is_set() and await self._changed.wait(deadline - self._loop.time()):
                if self._agent.view.version > asked.version:
                    await self._spread()
                    return
        finally:
            self.waiting -= 1

    async def _spread(self) -> None:
        """Wait for a random time, which grows with the reads that wait: they all wait for the same view."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._rng.uniform(0.0, min(MOST_SPREAD, APART * self.waiting))):
                await self._ended.wait()

    def _most(self) -> int:
        """How many reads may wait at one time: they count as requests in progress, and large views as their answers."""
        most, size = self._options.admission_limit, len(self._encoded())
        return min(most, self._options.answer_bytes // size if size >= LARGE else most) // SHARE

    def _encoded(self) -> bytes:
        view = self._agent.view
        if self._newest[0] != view.version:
            self._newest = view.version, encode(view)
        return self._newest[1]

    def _on_view(self, _: View) -> None:
        self._changed.fire()
