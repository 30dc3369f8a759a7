"""The event loop of a simulation: several processes in one thread, in virtual time, in an order that a seed decides.

Each callback belongs to a `Process`. Within a process callbacks keep the order that asyncio promises; between processes
nothing is promised, so that order is drawn. Timers are up to LATENESS late, as on a real machine, and never early. A
paused process stands still: its callbacks wait, in order, until it resumes. ADR 0070 argues what is legal.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LATENESS = 0.001
"""Seconds that a loop may wake later than its timer, as an idle one does."""


class Stalled(RuntimeError):
    """Everything waits and no timer is set: the simulation can never go on."""


class Process:
    """Whose turn it is: a silo, a client, the database, or the harness itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.paused = False
        self.alive = True
        self.held: deque[_Callback] = deque()

    def __repr__(self) -> str:
        return f"<process {self.name}>"


class _Callback(asyncio.TimerHandle):
    """A callback and its process. Every one is a timer, so that one class serves both queues."""

    __slots__ = ("process",)

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
        process: Process,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.process = process

    def run(self) -> None:
        """Call it, unless it was cancelled."""
        if not self._cancelled:
            self._run()


class SimulatedTask(asyncio.Task[Any]):
    """A task bound to a process. It hashes by its number, so that sets of tasks are walked in the same order always."""

    process: Process
    number: int

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class Within:
    """Another process for a moment. A class of its own because it is entered for each message."""

    __slots__ = ("_before", "_loop", "_process")

    def __init__(self, loop: SimulatedLoop, process: Process) -> None:
        self._loop = loop
        self._process = process
        self._before = loop.process

    def __enter__(self) -> None:
        self._loop.process = self._process

    def __exit__(self, *_: object) -> None:
        self._loop.process = self._before


class SimulatedLoop(asyncio.BaseEventLoop):
    """Run it like any loop. `process` is the process of the running callback; what that starts belongs to it too."""

    def __init__(self, rng: random.Random, start: float = 0.0) -> None:
        super().__init__()
        self._rng = rng
        self._now = start
        self._queue: deque[_Callback] = deque()
        self._timers: list[tuple[float, float, _Callback]] = []
        self._tasks_made = 0
        self.outside = Process("harness")
        self.process = self.outside
        self.steps = 0
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def within(self, process: Process) -> Within:
        """A context: what is started inside belongs to `process`."""
        return Within(self, process)

    def pause(self, process: Process) -> None:
        """Let a process stand still, as SIGSTOP does."""
        process.paused = True

    def resume(self, process: Process) -> None:
        """Let it go on: first what waited, in order."""
        process.paused = False
        self._queue.extend(process.held)
        process.held.clear()

    # -- asyncio.AbstractEventLoop --

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio. A step of a task belongs to the task's process, whoever woke it."""
        owner = getattr(callback, "__self__", None)
        process = owner.process if isinstance(owner, SimulatedTask) else self.process
        handle = _Callback(self._now, callback, args, self, context, process)
        self._queue.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio; there are no other threads."""
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio. Timers of one instant run in an order that is drawn."""
        handle = _Callback(when, callback, args, self, context, self.process)
        heapq.heappush(self._timers, (when, self._rng.random(), handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Refused: a thread would bring real time into the simulation."""
        raise RuntimeError("nothing may run in a thread inside a simulation")

    def __del__(self) -> None:
        """Nothing to warn of: a loop that was never run or closed holds no socket and no thread."""

    def _run_once(self) -> None:
        queue = self._queue
        if not queue:
            self._wake()
        for _ in range(len(queue)):
            handle = queue.popleft()
            process = handle.process
            if process.paused:
                process.held.append(handle)
                continue
            self.process = process
            handle.run()
            self.steps += 1
        self.process = self.outside

    def _wake(self) -> None:
        """Nothing is left to do now: go on to the next timer, and a little further, to whatever is due by then."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise Stalled("the simulation stands still: everything waits, and no timer is set")
        self._now = max(self._now, timers[0][0]) + self._rng.random() * LATENESS
        due: dict[Process, deque[_Callback]] = {}
        while timers and timers[0][0] <= self._now:
            handle = heapq.heappop(timers)[2]
            due.setdefault(handle.process, deque()).append(handle)
        while len(due) > 1:
            process = self._rng.choice(list(due))
            self._queue.append(due[process].popleft())
            if not due[process]:
                del due[process]
        for rest in due.values():
            self._queue.extend(rest)

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Generator[Any, None, Any] | Coroutine[Any, Any, Any],
        **options: Any,
    ) -> SimulatedTask:
        self._tasks_made += 1
        made = SimulatedTask.__new__(SimulatedTask)
        made.number = self._tasks_made  # before asyncio puts it into its own sets
        made.process = self.process
        if "name" not in options:
            options["name"] = f"task-{self._tasks_made}"
        SimulatedTask.__init__(made, coroutine, loop=loop, **options)
        return made
