"""Tells the silo that owns a grain's slot that reminders of the grain have changed.

The word is a hint: that silo reads the grain's rows anew. If it is lost, the next read of what is due repairs it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import msgspec

from grange.aio.backoff import Backoff
from grange.aio.tasks import Tasks
from grange.errors import CallError
from grange.proto.ids import GrainId, SiloAddress
from grange.runtime.system_target import Ask

NEWS = "reminders.news"
"""Name of the system target. It is on the wire."""

PATIENCE = 10.0
"""Seconds for which one piece of news is sent again: longer than it takes to replace a silo that owned the slot."""

ASK_TIMEOUT = 2.0
"""Seconds for one attempt."""

PAUSE_FIRST, PAUSE_LIMIT = 0.02, 1.0
"""Seconds before it is sent again: the first and the longest pause. A change of the cluster ends any."""

Waiting = dict[GrainId, list[asyncio.Future[None]]]

_decode = msgspec.msgpack.Decoder(list[GrainId]).decode
_encode = msgspec.msgpack.Encoder().encode


class NewsDeps(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """`owner` of a grain's slot in the newest view; `changed` waits for a newer view.

    `hear` takes the news of this silo's own slots, and returns the grains that lie in slots of others.
    """

    me: SiloAddress
    ask: Ask
    owner: Callable[[GrainId], SiloAddress | None]
    changed: Callable[[], Awaitable[object]]
    hear: Callable[[Iterable[GrainId]], list[GrainId]]
    rng: random.Random


class News:
    """The news that this silo has to tell."""

    def __init__(self, deps: NewsDeps) -> None:
        self._deps = deps
        self._tasks = Tasks()
        self._waiting: Waiting = {}
        self._loop = asyncio.get_running_loop()

    def tell(self, grain_id: GrainId) -> asyncio.Future[None]:
        """Tell the owner of the slot. The future is done when it has heard, or when it could not be reached."""
        told = self._loop.create_future()
        if self._deps.owner(grain_id) == self._deps.me and not self._deps.hear((grain_id,)):
            told.set_result(None)
            return told
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.setdefault(grain_id, []).append(told)
        return told

    async def answer(self, question: bytes) -> bytes:
        """The system target: news for this silo. The answer has the grains that lie in slots of others."""
        return _encode(self._deps.hear(_decode(question)))

    async def close(self) -> None:
        """Tell no more."""
        await self._tasks.close()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        self._tasks.start(self._send(waiting))

    async def _send(self, waiting: Waiting) -> None:
        deadline, backoff = self._loop.time() + PATIENCE, Backoff(PAUSE_FIRST, PAUSE_LIMIT, self._deps.rng)
        try:
            await self._send_once(waiting)
            while waiting and self._loop.time() < deadline:
                await self._pause(backoff.pause())
                await self._send_once(waiting)
        finally:
            for told in waiting.values():
                _end(told)

    async def _pause(self, seconds: float) -> None:
        """Wait for so long, or until the cluster changes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._deps.changed()

    async def _send_once(self, waiting: Waiting) -> None:
        """Tell each owner once, and remove what was heard."""
        groups: dict[SiloAddress | None, list[GrainId]] = {}
        for grain_id in waiting:
            groups.setdefault(self._deps.owner(grain_id), []).append(grain_id)
        for heard in await asyncio.gather(*(self._ask(*group) for group in groups.items())):
            for grain_id in heard:
                _end(waiting.pop(grain_id))

    async def _ask(self, owner: SiloAddress | None, grains: list[GrainId]) -> set[GrainId]:
        """Tell one silo. Returns the grains of which it has heard: those in its slots."""
        deps = self._deps
        try:
            if owner is None:
                return set()
            if owner == deps.me:
                return set(grains) - set(deps.hear(grains))
            return set(grains) - set(_decode(await deps.ask(owner, NEWS, _encode(grains), ASK_TIMEOUT)))
        except (CallError, msgspec.DecodeError):  # it is gone, or is of a release without reminders
            return set()


def _end(told: list[asyncio.Future[None]]) -> None:
    for each in told:
        if not each.done():
            each.set_result(None)
