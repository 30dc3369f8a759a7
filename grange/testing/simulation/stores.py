"""The databases of a simulation: the memory providers behind a network of their own, with a database's bad days.

A request travels, is carried out at one instant in the database, and its answer travels back; each half may fail. So a
change may be stored though its silo was told otherwise, and also after its silo has died.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from grange.errors import InconsistentStateError, MembershipUnavailable, StorageUnavailable, WriteOutcomeUnknown
from grange.membership.model.member import View
from grange.membership.model.provider import Table
from grange.membership.providers.memory import MemoryMembershipTable, MemoryStore
from grange.membership.table.transitions import view_of
from grange.proto.ids import GrainId
from grange.storage.providers.memory import MemoryStorage
from grange.testing.checks.writers import Write
from grange.testing.simulation.loop import Process, SimulatedLoop
from grange.testing.simulation.trace import Trace
from grange.testing.simulation.weather import Weather

T = TypeVar("T")

ANSWER_TIMEOUT = 3.0
"""Seconds after which a silo gives up waiting for the database."""

HISTORY = 20
"""Versions of the membership table that a roll-back can return to."""

CLUSTER = "default"
"""The name of the simulated cluster."""


class _Kept(msgspec.Struct):
    """What the workload's grains keep, as far as the audit looks into it."""

    value: int = 0
    writer: str = ""


class Database:
    """One simulated server. `weather` is what everybody meets, `local` what single silos meet instead, by name;
    `traps` are sprung when a process is about to send a change.
    """

    def __init__(
        self,
        loop: SimulatedLoop,
        rng: random.Random,
        name: str,
        unavailable: Callable[[str], Exception],
        unknown: Callable[[str], Exception],
    ) -> None:
        self._loop = loop
        self._rng = rng
        self._process = Process(name)
        self._unavailable = unavailable
        self._unknown = unknown
        self.weather = Weather()
        self.local: dict[str, Weather] = {}
        self.traps: dict[Process, Callable[[], None]] = {}

    def heal(self) -> None:
        """Everything works again."""
        self.weather = Weather()
        self.local.clear()

    async def ask(self, asker: Process, what: str, do: Callable[[], Coroutine[Any, Any, T]], change: bool) -> T:
        """Have the server do something; `change` says that an answer that is lost leaves the outcome unknown."""
        answer: asyncio.Future[T] = self._loop.create_future()
        if not asker.alive:
            return await answer  # nobody is there any more to send it, or to hear the answer
        if change and asker in self.traps:
            self.traps.pop(asker)()
            await asyncio.sleep(0)  # who is paused now sends this when it resumes
        weather = self._weather(asker)
        if weather.down:
            await asyncio.sleep(self._rng.choice((0.01, 1.0)))
            raise self._unavailable(f"{self._process.name} cannot be reached: {what}")
        with self._loop.within(self._process):
            self._loop.call_later(self._delay(weather), self._carry_out, asker, answer, do)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await answer
        except TimeoutError:
            error = self._unknown if change else self._unavailable
            raise error(f"{self._process.name} did not answer within {ANSWER_TIMEOUT} s: {what}") from None

    def _carry_out(self, asker: Process, answer: asyncio.Future[T], do: Callable[[], Coroutine[Any, Any, T]]) -> None:
        weather = self._weather(asker)
        if weather.down:
            return  # it was on its way; the asker's time-out tells
        result: T | Exception
        if self._rng.random() < weather.failure:
            result = self._unavailable(f"{self._process.name} had no connection left")
        else:
            try:
                result = _at_once(do())
            except Exception as error:  # the answer is an error, raised where the question came from
                result = error
            if self._rng.random() < weather.lost_answer:
                return
        with self._loop.within(asker):
            self._loop.call_later(self._delay(weather), _settle, answer, result)

    def _weather(self, asker: Process) -> Weather:
        return self.local.get(asker.name, self.weather)

    def _delay(self, weather: Weather) -> float:
        return 0.0005 + self._rng.random() * (0.002 + weather.delay)


class SimulatedTable:
    """`membership.provider.MembershipTable` as one silo reaches it."""

    def __init__(self, database: Database, memory: Memory, asker: Process) -> None:
        self._database = database
        self._memory = memory
        self._asker = asker

    async def read(self) -> Table:
        return await self._ask("read", self._memory.table.read, False)

    async def read_row(self, *args: Any, **options: Any) -> Any:
        return await self._ask("read_row", lambda: self._memory.table.read_row(*args, **options), False)

    async def insert(self, *args: Any, **options: Any) -> bool:
        return self._raced(await self._ask("insert", lambda: self._memory.table.insert(*args, **options)))

    async def update(self, *args: Any, **options: Any) -> bool:
        return self._raced(await self._ask("update", lambda: self._memory.table.update(*args, **options)))

    async def rebuild(self, *args: Any, **options: Any) -> bool:
        async def rebuild() -> bool:
            rebuilt = await self._memory.table.rebuild(*args, **options)
            self._memory.lost = self._memory.lost and not rebuilt
            return rebuilt

        return self._raced(await self._ask("rebuild", rebuild))

    async def alive(self, *args: Any, **options: Any) -> bool:
        return await self._ask("alive", lambda: self._memory.table.alive(*args, **options))

    async def cleanup(self, *args: Any, **options: Any) -> int:
        return await self._ask("cleanup", lambda: self._memory.table.cleanup(*args, **options))

    async def delete(self) -> None:
        await self._ask("delete", self._memory.table.delete)

    async def _ask(self, what: str, do: Callable[[], Coroutine[Any, Any, T]], change: bool = True) -> T:
        async def and_remember() -> T:
            result = await do()
            self._memory.remember()
            return result

        return await self._database.ask(self._asker, f"table {what}", and_remember, change)

    def _raced(self, won: bool) -> bool:
        if not won:
            self._memory.trace.saw("cas_lost")
        return won


class SimulatedStorage:
    """`storage.provider.GrainStorage` as one silo reaches it; every accepted change goes into the audit."""

    def __init__(self, database: Database, memory: Memory, asker: Process) -> None:
        self._database = database
        self._memory = memory
        self._asker = asker

    async def read(self, *args: Any, **options: Any) -> Any:
        return await self._ask("read", lambda: self._memory.storage.read(*args, **options), False)

    async def write(
        self, grain_id: GrainId, state: str, payload: bytes, etag: str | None, *args: Any, **options: Any
    ) -> str:
        async def write() -> str:
            before = (await self._memory.storage.read(grain_id, state)).etag
            now = await self._memory.storage.write(grain_id, state, payload, etag, *args, **options)
            if now != before:  # else a change that was stored before was told again
                self._memory.note(self._asker.name, grain_id, before, now, payload)
            return now

        return await self._ask("write", write)

    async def clear(self, *args: Any, **options: Any) -> Any:
        return await self._ask("clear", lambda: self._memory.storage.clear(*args, **options))

    async def fence(self, *args: Any, **options: Any) -> None:
        await self._ask("fence", lambda: self._memory.storage.fence(*args, **options))

    async def _ask(self, what: str, do: Callable[[], Coroutine[Any, Any, T]], change: bool = True) -> T:
        try:
            return await self._database.ask(self._asker, f"storage {what}", do, change)
        except InconsistentStateError as error:
            self._memory.trace.saw("silo_fenced_by_store" if getattr(error, "fenced", False) else "stale_write_refused")
            raise


class Memory:
    """What the databases hold, and what was ever accepted."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.tables = MemoryStore()
        self.table = MemoryMembershipTable(CLUSTER, self.tables)
        self.storage = MemoryStorage()
        self.audit: list[Write] = []
        self._past: list[Table] = []
        self._stored: dict[str, int] = {}
        self._origins: dict[tuple[int, tuple[tuple[str, str], ...]], str] = {}
        self._losses = 0
        self.lost = False  # from a loss of the table to its rebuilding

    def remember(self) -> None:
        """Keep the table as it is now, if it is another one than before."""
        now = self.tables.tables.get(CLUSTER)
        if now is not None and (not self._past or self._past[-1].version != now.version):
            self._past = [*self._past[-HISTORY:], now]
            self._origins[_contents(view_of(now))] = f"{now.version.incarnation}/{self._losses}"

    def origin(self, view: View) -> str | None:
        """Which table this view is of: each loss makes it another one. None: it was never in the table."""
        return self._origins.get(_contents(view))

    def roll_back(self, versions: int) -> int:
        """Return to the table of so many versions ago, or the oldest known; returns how many it was."""
        back = min(versions, len(self._past) - 1)
        if back > 0:
            self._past = self._past[:-back]
            self.tables.tables[CLUSTER] = self._past[-1]
            self._lose()
        return max(back, 0)

    def empty(self) -> None:
        """The membership table is gone, as by FLUSHALL."""
        if self.tables.tables.pop(CLUSTER, None) is not None:
            self._past.clear()
            self._lose()

    def _lose(self) -> None:
        self._losses += 1
        self.lost = True

    def counters(self) -> dict[str, int]:
        """The stored value of each counter of the workload, by its key."""
        return {key: value for key, value in self._stored.items() if key.startswith("c-")}

    def note(self, silo: str, grain_id: GrainId, before: str | None, etag: str, payload: bytes) -> None:
        """One accepted write."""
        try:
            state = msgspec.json.decode(payload, type=_Kept)
        except msgspec.DecodeError:  # of a grain that is not of the workload
            state = _Kept()
        self._stored[grain_id.key] = state.value
        writer = state.writer
        self.audit.append(Write(self.trace.now(), f"{grain_id.type}/{grain_id.key}", before, etag, silo, writer))


def _contents(view: View) -> tuple[int, tuple[tuple[str, str], ...]]:
    return view.version, tuple((str(member.address), member.status.value) for member in view.members)


def table_server(loop: SimulatedLoop, rng: random.Random) -> Database:
    """The server of the membership table; it has one error for everything."""
    return Database(loop, rng, "table", MembershipUnavailable, MembershipUnavailable)


def state_server(loop: SimulatedLoop, rng: random.Random) -> Database:
    """The server of grain state, which says when an outcome is unknown."""
    return Database(loop, rng, "store", StorageUnavailable, WriteOutcomeUnknown)


def _at_once(operation: Coroutine[Any, Any, T]) -> T:
    """Run what only yields to other tasks to its end, in one instant."""
    try:
        while True:
            operation.send(None)
    except StopIteration as end:
        result: T = end.value
        return result


def _settle(answer: asyncio.Future[T], result: T | Exception) -> None:
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
