"""Crosses from the admin thread's loop to the silo's: a question becomes a task there, its answer comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, TypeVar

from grange.aio.tasks import Tasks
from grange.errors import CallTimeout, NoSuchGrain, SiloUnavailable
from grange.membership.model.member import View
from grange.proto.acts import Asker, Level
from grange.proto.ids import SiloAddress
from grange.runtime.system_target import Ask, SystemTargets

T = TypeVar("T")


class Crossing:
    """The way from another thread into one silo. Made and closed in the silo's loop; `cross` runs in the other one.

    `targets` answer questions to this silo itself; `ask` asks the others.
    """

    def __init__(
        self, me: tuple[SiloAddress, str, str], view: Callable[[], View], targets: SystemTargets, ask: Ask
    ) -> None:
        self.address, self.name, self.cluster = me
        self.view = view
        self._targets = targets
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()
        self._closed = False

    async def cross(self, make: Callable[[], Coroutine[Any, Any, T]], timeout: float) -> T:
        """Run a coroutine in the silo's loop and return its result. Cancelling this cancels the coroutine.

        Raises CallTimeout after `timeout` seconds, because the silo's loop may stand still, and SiloUnavailable once
        the silo has stopped.
        """
        question = _Question(make)
        try:
            self._loop.call_soon_threadsafe(self._start, question)
        except RuntimeError:  # the loop is closed
            raise SiloUnavailable(f"silo {self.address} has stopped") from None
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(question.answer)
        except TimeoutError:
            raise CallTimeout(f"silo {self.address} did not answer within {timeout:g} s") from None
        finally:
            if not question.answer.done():
                self._cancel(question)

    async def ask(self, silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
        """Ask a system target, in the silo's loop: see `SiloAccess.ask`."""
        if silo != self.address:
            return await self._ask(silo, service, question, timeout)
        answer = self._targets.find(service, Asker(self.name, Level.ADMIN, is_silo=True))
        if answer is None:
            raise NoSuchGrain(f"there is no system target {service!r} here")
        return await answer(question)

    async def close(self) -> None:
        """Refuse further questions and cancel those in progress."""
        self._closed = True
        await self._tasks.close()

    def _start(self, question: _Question[Any]) -> None:
        if not question.answer.set_running_or_notify_cancel():
            return  # the asker has gone; from here on only the task ends the answer
        if self._closed:
            question.answer.set_exception(SiloUnavailable(f"silo {self.address} has stopped"))
        else:
            question.task = self._tasks.start(question.run())
            question.task.add_done_callback(question.ended)

    def _cancel(self, question: _Question[Any]) -> None:
        def cancel() -> None:
            if question.task is not None:
                question.task.cancel()

        with suppress(RuntimeError):  # the loop is closed, and its tasks have ended
            self._loop.call_soon_threadsafe(cancel)


class _Question(Generic[T]):
    """One question under way: its coroutine runs in the silo's loop, its answer is awaited in the asker's."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._make = make
        self.answer: Future[T] = Future()
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Do the work and give the answer."""
        try:
            result = await self._make()
        except Exception as error:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(result)

    def ended(self, _: asyncio.Task[None]) -> None:
        """The task has ended. If it was cancelled, perhaps before its first step, it has given no answer."""
        if not self.answer.done():
            self.answer.set_exception(SiloUnavailable("the silo stopped before it answered"))
