"""The requests of one connection that wait undelivered, because its peer does not read its answers fast enough."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from grange.proto.message import Reason, Rejection, Request
from grange.runtime.calls.admission import AnswerSizes, Share, Weighed
from grange.runtime.requests.refusal import Refused
from grange.transport.provider import Connection

HELD_REQUESTS = 1000
"""Most requests that wait undelivered at one connection before it is not read any more."""

HELD_BYTES = 16 * 1024 * 1024
"""Most bytes of these requests."""

LOOK_PERIOD = 0.1
"""Seconds between two looks at requests that wait undelivered: at their deadlines, and whether they may start now."""

LOOKS_BEFORE_WIDER = 10
"""Looks after which more requests may run whose answers may be large, although those that run have not ended."""


class Holder(Protocol):
    """The connection whose requests wait; `Incoming` is one. `full`: its answers that wait are at their limit."""

    share: Share
    sizes: AnswerSizes
    full: bool

    @property
    def connection(self) -> Connection:
        """The connection itself."""
        ...

    def begin(self, weighed: Weighed) -> None:
        """Deliver a request that may start."""
        ...

    def refuse(self, request: Request, rejection: Rejection) -> None:
        """Refuse a request that was not delivered."""
        ...


class HeldRequests:
    """The requests that wait, by id, in the order in which they came. If there are many, the peer is not read."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self.by_id: OrderedDict[int, Weighed] = OrderedDict()
        self._bytes = 0
        self._look: asyncio.TimerHandle | None = None
        self._looks = 0
        self._releasing = False

    def add(self, held: Weighed) -> None:
        """Let this request wait."""
        self.by_id[held.request.id] = held
        self._bytes += held.size
        self._update_reading()

    def cancel(self, number: int, refused: Refused) -> None:
        """Refuse one of them, as its caller asks."""
        self._refuse(number, refused)
        self._update_reading()

    def release(self) -> None:
        """Deliver them, in order, while they may start. Called when a request has its outcome."""
        if self._releasing:
            return  # a request that was delivered has ended at once
        self._releasing = True
        holder = self._holder
        try:
            while self.by_id:
                number, held = next(iter(self.by_id.items()))
                held.expected = holder.sizes.expected(held.request)
                if holder.full or not holder.share.may_start(held.arguments, held.expected):
                    break
                holder.begin(self._pop(number))
        finally:
            self._releasing = False
        self._update_reading()

    def deliver_all(self) -> None:
        """Deliver all of them, to be refused: the silo takes no more requests."""
        self._releasing = True  # the end of one, which is refused at once, must not deliver the others
        try:
            for number in list(self.by_id):
                if number in self.by_id:  # else the connection has ended meanwhile
                    self._holder.begin(self._pop(number))
        finally:
            self._releasing = False
        self._update_reading()

    def drop(self) -> None:
        """Forget all of them: the connection has ended."""
        for held in self.by_id.values():
            self._holder.share.give_back(held.size)
        self.by_id.clear()
        self._bytes = 0
        self._update_reading()

    def _look_again(self) -> None:
        """Refuse those whose time is over, and start those that may. Called from time to time."""
        self._look = None
        now = asyncio.get_running_loop().time()
        refused = Refused(Reason.EXPIRED, "its time was over while answers to its peer were unread")
        for number in [number for number, held in self.by_id.items() if now >= held.deadline]:
            if number in self.by_id:  # else the connection has ended meanwhile
                self._refuse(number, refused)
        self._looks += 1
        if self._looks % LOOKS_BEFORE_WIDER == 0:
            self._holder.share.widen()
        self.release()

    def _refuse(self, number: int, refused: Refused) -> None:
        held = self._pop(number)
        self._holder.share.give_back(held.size)
        self._holder.refuse(held.request, Rejection(number, refused.reason, refused.message))

    def _pop(self, number: int) -> Weighed:
        held = self.by_id.pop(number)
        self._bytes -= held.size
        return held

    def _update_reading(self) -> None:
        """Read on from the peer unless too much is held, and look again soon while anything is held."""
        if self.by_id and self._look is None:
            self._look = asyncio.get_running_loop().call_later(LOOK_PERIOD, self._look_again)
        elif not self.by_id and self._look is not None:
            self._look.cancel()
            self._look = None
        connection = self._holder.connection
        if len(self.by_id) >= HELD_REQUESTS or self._bytes >= HELD_BYTES or (self.by_id and self._holder.full):
            connection.pause()
        else:
            connection.resume()
