"""The databases of a simulation: the memory providers behind a simulated network, with injected faults.

A request travels to the database, is executed there at one instant, and its answer travels back. Each step may fail. So
a change may be stored although its silo received an error, or after its silo has died.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from grange.errors import InconsistentStateError, MembershipUnavailable, StorageUnavailable, WriteOutcomeUnknown
from grange.membership.model.member import View
from grange.membership.model.provider import Table
from grange.membership.providers.memory import MemoryMembershipTable, MemoryStore
from grange.membership.table.transitions import view_of
from grange.proto.ids import GrainId
from grange.storage.memory import MemoryStorage
from grange.storage.sets import ChangeSet, Committed
from grange.storage.sets import Write as ChangedRecord
from grange.storage.stores.plain import PlainOperations
from grange.testing.checks.writers import Write
from grange.testing.simulation.event_log import EventLog
from grange.testing.simulation.loop import Process, SimulatedLoop
from grange.testing.simulation.wall_clock import EPOCH

T = TypeVar("T")

ANSWER_TIMEOUT = 3.0
"""Seconds after which a silo stops waiting for an answer of the database."""

ROLLBACK_VERSIONS = 20
"""Past versions of the membership table that are kept; a roll-back returns to one of them."""

CLUSTER = "default"
"""The name of the simulated cluster."""


class DatabaseFaults(msgspec.Struct):
    """The faults of one database, for all silos or for one.

    `delay` is the most extra delay of each way, in seconds; `failure` and `lost_answer` are probabilities (0 to 1).
    """

    down: bool = False
    delay: float = 0.0
    failure: float = 0.0
    lost_answer: float = 0.0


class _State(msgspec.Struct):
    """The part of a grain's state that the audit reads."""

    value: int = 0
    writer: str = ""


class Database:
    """One simulated database server.

    `faults` apply to all silos, except those named in `faults_by_silo`. A callback in `before_change` runs once, just
    before its process sends a change.
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
        self.faults = DatabaseFaults()
        self.faults_by_silo: dict[str, DatabaseFaults] = {}
        self.before_change: dict[Process, Callable[[], None]] = {}

    def heal(self) -> None:
        """End all faults."""
        self.faults = DatabaseFaults()
        self.faults_by_silo.clear()

    async def execute(
        self, caller: Process, name: str, operation: Callable[[], Coroutine[Any, Any, T]], change: bool
    ) -> T:
        """Execute an operation on the server; with `change`, a lost answer leaves the outcome unknown."""
        answer: asyncio.Future[T] = self._loop.create_future()
        if not caller.alive:
            return await answer  # a dead process sends no request and gets no answer: wait until cancelled
        if change and caller in self.before_change:
            self.before_change.pop(caller)()
            await asyncio.sleep(0)  # if the process was paused, it sends the request when it resumes
        faults = self._faults_for(caller)
        if faults.down:
            await asyncio.sleep(self._rng.choice((0.01, 1.0)))
            raise self._unavailable(f"{self._process.name} cannot be reached: {name}")
        with self._loop.within(self._process):
            self._loop.call_later(self._delay(faults), self._serve, caller, answer, operation)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await answer
        except TimeoutError:
            error = self._unknown if change else self._unavailable
            raise error(f"{self._process.name} did not answer within {ANSWER_TIMEOUT} s: {name}") from None

    def _serve(
        self, caller: Process, answer: asyncio.Future[T], operation: Callable[[], Coroutine[Any, Any, T]]
    ) -> None:
        faults = self._faults_for(caller)
        if faults.down:
            return  # the request is lost; the caller's time-out reports it
        result: T | Exception
        if self._rng.random() < faults.failure:
            result = self._unavailable(f"{self._process.name} had no connection left")
        else:
            try:
                result = _run_to_completion(operation())
            except Exception as error:  # the answer is an error; the caller raises it
                result = error
            if self._rng.random() < faults.lost_answer:
                return
        with self._loop.within(caller):
            self._loop.call_later(self._delay(faults), _resolve, answer, result)

    def _faults_for(self, caller: Process) -> DatabaseFaults:
        return self.faults_by_silo.get(caller.name, self.faults)

    def _delay(self, faults: DatabaseFaults) -> float:
        return 0.0005 + self._rng.random() * (0.002 + faults.delay)


class SimulatedTable:
    """`membership.model.provider.MembershipTable` for one silo."""

    def __init__(self, database: Database, contents: DatabaseContents, caller: Process) -> None:
        self._database = database
        self._contents = contents
        self._caller = caller

    async def read(self) -> Table:
        return await self._execute("read", self._contents.table.read, False)

    async def read_row(self, *args: Any, **options: Any) -> Any:
        return await self._execute("read_row", lambda: self._contents.table.read_row(*args, **options), False)

    async def insert(self, *args: Any, **options: Any) -> bool:
        return self._count_lost(await self._execute("insert", lambda: self._contents.table.insert(*args, **options)))

    async def update(self, *args: Any, **options: Any) -> bool:
        return self._count_lost(await self._execute("update", lambda: self._contents.table.update(*args, **options)))

    async def rebuild(self, *args: Any, **options: Any) -> bool:
        async def rebuild() -> bool:
            rebuilt = await self._contents.table.rebuild(*args, **options)
            self._contents.lost = self._contents.lost and not rebuilt
            return rebuilt

        return self._count_lost(await self._execute("rebuild", rebuild))

    async def alive(self, *args: Any, **options: Any) -> bool:
        return await self._execute("alive", lambda: self._contents.table.alive(*args, **options))

    async def cleanup(self, *args: Any, **options: Any) -> int:
        return await self._execute("cleanup", lambda: self._contents.table.cleanup(*args, **options))

    async def delete(self) -> None:
        await self._execute("delete", self._contents.table.delete)

    async def _execute(self, name: str, operation: Callable[[], Coroutine[Any, Any, T]], change: bool = True) -> T:
        async def execute_and_record() -> T:
            result = await operation()
            self._contents.record_table()
            return result

        return await self._database.execute(self._caller, f"table {name}", execute_and_record, change)

    def _count_lost(self, won: bool) -> bool:
        if not won:
            self._contents.event_log.record("cas_lost")
        return won


class SimulatedStorage(PlainOperations):
    """The storage of one silo, with all that the stores of grange do. Every accepted write is added to the audit."""

    def __init__(self, database: Database, contents: DatabaseContents, caller: Process) -> None:
        self._database = database
        self._contents = contents
        self._caller = caller

    async def read(self, *args: Any, **options: Any) -> Any:
        return await self._execute("read", lambda: self._contents.storage.read(*args, **options), False)

    async def commit(self, changes: ChangeSet) -> Committed:
        return await self._execute("commit", lambda: self._contents.commit(self._caller.name, changes))

    async def received(self, *args: Any) -> Any:
        return await self._execute("received", lambda: self._contents.storage.received(*args), False)

    async def claim(self, *args: Any) -> Any:
        return await self._execute("claim", lambda: self._contents.storage.claim(*args), False)

    async def list_records(self, *args: Any) -> Any:
        return await self._execute("list", lambda: self._contents.storage.list_records(*args), False)

    async def find(self, *args: Any) -> Any:
        return await self._execute("find", lambda: self._contents.storage.find(*args), False)

    async def now(self) -> int:
        return await self._execute("now", self._contents.storage.now, False)

    async def reminders_of(self, *args: Any) -> Any:
        return await self._execute("reminders_of", lambda: self._contents.storage.reminders_of(*args), False)

    async def reminders_due(self, *args: Any) -> Any:
        return await self._execute("reminders_due", lambda: self._contents.storage.reminders_due(*args), False)

    async def reminders_parked(self, *args: Any) -> Any:
        return await self._execute("reminders_parked", lambda: self._contents.storage.reminders_parked(*args), False)

    async def fence(self, *args: Any, **options: Any) -> None:
        await self._execute("fence", lambda: self._contents.storage.fence(*args, **options))

    async def fenced_generation(self, endpoint: str) -> int:
        return await self._execute("deaths", lambda: self._contents.storage.fenced_generation(endpoint), False)

    async def _execute(self, name: str, operation: Callable[[], Coroutine[Any, Any, T]], change: bool = True) -> T:
        try:
            return await self._database.execute(self._caller, f"storage {name}", operation, change)
        except InconsistentStateError as error:
            kind = "silo_fenced_by_store" if getattr(error, "fenced", False) else "stale_write_refused"
            self._contents.event_log.record(kind)
            raise


class DatabaseContents:
    """The contents of both databases, and the audit of every accepted write."""

    def __init__(self, event_log: EventLog) -> None:
        self.event_log = event_log
        self.tables = MemoryStore()
        self.table = MemoryMembershipTable(CLUSTER, self.tables)
        self.storage = MemoryStorage(clock=lambda: EPOCH.timestamp() + event_log.now())
        self.audit: list[Write] = []
        self._versions: list[Table] = []
        self.torn: list[str] = []
        """The change sets of which a part was stored."""
        self.stored: dict[str, int] = {}  # the stored values by grain id, and state name if it is not "state"
        self.payloads: dict[str, bytes] = {}  # the stored payloads by the same names
        self._origins: dict[tuple[int, tuple[tuple[str, str], ...]], str] = {}
        self._losses = 0
        self.lost = False  # true from a loss of the table until it is rebuilt

    def record_table(self) -> None:
        """Keep the current table, if it has a new version."""
        now = self.tables.tables.get(CLUSTER)
        if now is not None and (not self._versions or self._versions[-1].version != now.version):
            self._versions = [*self._versions[-ROLLBACK_VERSIONS:], now]
            self._origins[_key(view_of(now))] = f"{now.version.incarnation}/{self._losses}"

    def origin(self, view: View) -> str | None:
        """The name of the table that held this view; each loss starts another table. None: no table held it."""
        return self._origins.get(_key(view))

    def roll_back(self, versions: int) -> int:
        """Restore the table of `versions` changes ago, or the oldest kept. Returns the number of changes undone."""
        undone = min(versions, len(self._versions) - 1)
        if undone > 0:
            self._versions = self._versions[:-undone]
            self.tables.tables[CLUSTER] = self._versions[-1]
            self._record_loss()
        return max(undone, 0)

    def empty(self) -> None:
        """Delete the membership table, as FLUSHALL does."""
        if self.tables.tables.pop(CLUSTER, None) is not None:
            self._versions.clear()
            self._record_loss()

    def _record_loss(self) -> None:
        self._losses += 1
        self.lost = True

    async def commit(self, silo: str, changes: ChangeSet) -> Committed:
        """Apply a set, and record which of its writes were stored, also when the store refuses it."""
        writes = [write for write in changes.writes if write.payload is not None or write.etag is not None]
        before = [(await self.storage.read(write.grain_id, write.state)).etag for write in writes]
        try:
            return await self.storage.commit(changes)
        finally:
            after = [(await self.storage.read(write.grain_id, write.state)).etag for write in writes]
            self._record_set(silo, [row for row in zip(writes, before, after, strict=True) if row[1] != row[2]], writes)

    def _record_set(
        self, silo: str, stored: Sequence[tuple[ChangedRecord, str | None, str | None]], all: Sequence[ChangedRecord]
    ) -> None:
        """Equal etags: nothing was stored, or the set repeats one that is stored already."""
        if 0 < len(stored) < len(all):
            names = ", ".join(f"{write.state} of {write.grain_id}" for write, *_ in stored)
            self.torn.append(f"{silo} stored {names}, and not the rest of {len(all)} writes")
        for write, before, after in stored:
            if write.payload is not None and after is not None:
                self._record_write(silo, write, before, after, write.payload)

    def _record_write(self, silo: str, write: ChangedRecord, before: str | None, etag: str, payload: bytes) -> None:
        """Add one accepted write to the audit."""
        try:
            state = msgspec.json.decode(payload, type=_State)
        except msgspec.DecodeError:  # a state of another shape
            state = _State()
        record = record_name(write.grain_id, write.state)
        self.stored[record] = state.value
        self.payloads[record] = payload
        self.audit.append(Write(self.event_log.now(), record, before, etag, silo, state.writer))


def record_name(grain_id: GrainId, state: str) -> str:
    """The name of a record in the audit: that of its grain, and of the state if it is not the usual one."""
    return str(grain_id) if state == "state" else f"{grain_id} {state}"


def _key(view: View) -> tuple[int, tuple[tuple[str, str], ...]]:
    return view.version, tuple((str(member.address), member.status.value) for member in view.members)


def table_server(loop: SimulatedLoop, rng: random.Random) -> Database:
    """The server of the membership table; every failure is the same error."""
    return Database(loop, rng, "table", MembershipUnavailable, MembershipUnavailable)


def state_server(loop: SimulatedLoop, rng: random.Random) -> Database:
    """The server of grain state; it has a separate error for an unknown outcome."""
    return Database(loop, rng, "store", StorageUnavailable, WriteOutcomeUnknown)


def _run_to_completion(operation: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in one instant; it may suspend only to yield to other tasks."""
    try:
        while True:
            operation.send(None)
    except StopIteration as end:
        result: T = end.value
        return result


def _resolve(answer: asyncio.Future[T], result: T | Exception) -> None:
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
