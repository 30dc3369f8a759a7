"""The event loop of a simulation: several processes in one thread, in virtual time, in an order drawn from a seed.

Each callback belongs to a `Process`. Within a process, callbacks run in the order that asyncio promises. The order
between processes is not promised, so it is drawn. Timers run up to MAX_LATENESS late, as on a real machine, and never
early. The callbacks of a paused process wait, in order, until it resumes. ADR 0047 gives the reasons.
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

MAX_LATENESS = 0.001
"""Seconds; the most by which a timer runs late."""


class Stalled(RuntimeError):
    """All tasks wait and no timer is set: the simulation cannot continue."""


class Process:
    """The owner of callbacks: a silo, a client, a database, or the harness itself.

    `place` is its place on the network: that of the processes of one machine, which are named PLACE#NUMBER.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.place = name.partition("#")[0]
        self.paused = False
        self.alive = True
        self.held: deque[_Callback] = deque()

    def __repr__(self) -> str:
        return f"<process {self.name}>"


class _Callback(asyncio.TimerHandle):
    """A callback and its process. Each is a timer handle, so that one class serves both queues."""

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
        """Run the callback, unless it was cancelled."""
        if not self._cancelled:
            self._run()


class SimulatedTask(asyncio.Task[Any]):
    """A task bound to a process. It hashes by its number, so that sets of tasks have a deterministic order."""

    process: Process
    number: int

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class Within:
    """Context manager that switches the current process. A class for speed: it is entered for each message."""

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
    """Run it like any loop. `process` owns the running callback, and every callback and task that it starts."""

    def __init__(self, rng: random.Random, start: float = 0.0) -> None:
        super().__init__()
        self._rng = rng
        self._now = start
        self._queue: deque[_Callback] = deque()
        self._timers: list[tuple[float, float, _Callback]] = []
        self._tasks_made = 0
        self.harness = Process("harness")
        self.process = self.harness
        self.steps = 0
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def within(self, process: Process) -> Within:
        """A context in which started callbacks and tasks belong to `process`."""
        return Within(self, process)

    def pause(self, process: Process) -> None:
        """Pause a process, as SIGSTOP does."""
        process.paused = True

    def resume(self, process: Process) -> None:
        """Resume a process: queue its held callbacks, in order."""
        process.paused = False
        self._queue.extend(process.held)
        process.held.clear()

    # -- asyncio.AbstractEventLoop --

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio. A step of a task belongs to the task's process, not to the process that woke it."""
        owner = getattr(callback, "__self__", None)
        process = owner.process if isinstance(owner, SimulatedTask) else self.process
        handle = _Callback(self._now, callback, args, self, context, process)
        self._queue.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio. A simulation has no other threads."""
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio. Timers of one instant run in a drawn order."""
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
        """Refuse: a thread would bring real time into the simulation."""
        raise RuntimeError("a simulation cannot run code in a thread")

    def __del__(self) -> None:
        """Suppress asyncio's warning about an unclosed loop: this loop holds no socket and no thread."""

    def _run_once(self) -> None:
        queue = self._queue
        if not queue:
            self._advance()
        for _ in range(len(queue)):
            handle = queue.popleft()
            process = handle.process
            if process.paused:
                process.held.append(handle)
                continue
            self.process = process
            handle.run()
            self.steps += 1
        self.process = self.harness

    def _advance(self) -> None:
        """Advance the time to the next timer, plus a drawn lateness, and queue every timer that is due then."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise Stalled("the simulation cannot continue: all tasks wait, and no timer is set")
        self._now = max(self._now, timers[0][0]) + self._rng.random() * MAX_LATENESS
        due: dict[Process, deque[_Callback]] = {}
        while timers and timers[0][0] <= self._now:
            handle = heapq.heappop(timers)[2]
            due.setdefault(handle.process, deque()).append(handle)
        while len(due) > 1:
            process = self._rng.choice(list(due))
            self._queue.append(due[process].popleft())
            if not due[process]:
                del due[process]
        for callbacks in due.values():
            self._queue.extend(callbacks)

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Generator[Any, None, Any] | Coroutine[Any, Any, Any],
        **options: Any,
    ) -> SimulatedTask:
        self._tasks_made += 1
        task = SimulatedTask.__new__(SimulatedTask)
        task.number = self._tasks_made  # set before asyncio adds the task to its sets
        task.process = self.process
        if "name" not in options:
            options["name"] = f"task-{self._tasks_made}"
        SimulatedTask.__init__(task, coroutine, loop=loop, **options)
        return task
