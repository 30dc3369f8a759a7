"""`PersistentState`: the facet through which a grain keeps a value in a database.

Authors declare it as a constructor parameter. The runtime builds it, loads it before `on_activate` and closes it after
`on_deactivate`. Several operations on one state may be requested at once (interleaving turns, background tasks):
`operations.py` runs them one at a time and joins those that wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from grange.errors import (
    InconsistentStateError,
    StateUnreadable,
    StorageError,
    WriteOutcomeUnknown,
)
from grange.observability.steps import part
from grange.proto.ids import GrainId
from grange.storage.memory import MemoryStorage
from grange.storage.provider import StateRecord
from grange.storage.sets import Check, Stamp, Write
from grange.storage.states.codec import codec_without_silo
from grange.storage.states.form import PlainForm, StateForm, Surplus, WouldChange, Written
from grange.storage.states.operations import Kind, OperationQueue
from grange.storage.states.store import StateStore

T = TypeVar("T")
S = TypeVar("S")

MAX_DOUBTS = 8
"""Most changes with lost answers that one state remembers. If an older one was stored, the next write fails."""


class _NotLoaded:
    """Stands in for the value until the first load."""


_NOT_LOADED = _NotLoaded()
_INSTEAD = {
    Kind.READ: "remove read(): it would drop them",
    Kind.WRITE: "remove write()",
    Kind.CLEAR: "assign a fresh value in place of clear()",
}
"""What to do in a transactional method in place of an operation."""

_RAISED_BY = "__grange_raised_by__"
"""The attribute of an error that names the state whose operation raised it. It does not travel to other processes."""
_DETACHED = GrainId("detached", "state")


class PersistentState(Generic[T]):
    """A value of type T that outlives the activation.

    Change `value` as you like; the changes are private to this activation until `write()` has succeeded.
    Operations run one at a time. A write encodes the value when its storage call starts, and writes that wait in the
    queue become one. All three operations raise `StorageUnavailable` or `StorageError`. `write` and `clear` also
    raise `InconsistentStateError` when another writer came first: let it escape, and the next call finds the stored
    state. They raise RuntimeError when called from outside a turn of the activation.

    If the error of an operation leaves the turn, the activation ends, and the next call loads what is stored. If the
    grain catches it, `value` keeps the unsaved changes: call `read()` to drop them, or `write()` to try again. If the
    outcome was unknown (`WriteOutcomeUnknown`), the next `write()` finds out whether the change was stored, and raises
    `InconsistentStateError` if another writer changed the record; nothing is overwritten silently.
    """

    __slots__ = (
        "_claim",
        "_default",
        "_doubts",
        "_etag",
        "_exists",
        "_form",
        "_given_up",
        "_grain_id",
        "_guard",
        "_held",
        "_name",
        "_operations",
        "_store",
        "_surplus",
        "_unsaved",
        "_value",
    )

    def __init__(
        self,
        store: StateStore,
        grain_id: GrainId,
        name: str,
        form: StateForm[T],
        default: Callable[[], T],
        guard: Callable[[], None] | None = None,
    ) -> None:
        """Called by the runtime. `guard` raises RuntimeError outside the activation's turns; None allows all."""
        self._store = store
        self._grain_id = grain_id
        self._name = name
        self._form = form
        self._default = default
        self._guard = guard
        self._value: T | _NotLoaded = _NOT_LOADED
        self._etag: str | None = None
        self._exists = False
        self._surplus: Surplus | None = None  # what the row holds beside the value
        self._operations = OperationQueue(self._perform)
        self._claim: int | None = None
        self._doubts: tuple[Stamp, ...] = ()
        self._unsaved = False  # whether the last operation failed, or its caller stopped waiting
        self._given_up = ""
        self._held = False  # while a transactional turn runs

    @staticmethod
    def detached(value: S, *, exists: bool = False, default: Callable[[], S] | None = None) -> PersistentState[S]:
        """A state in memory only, holding `value`, to construct a grain in a unit test.

        With `exists`, the value counts as stored. `default` makes the value after `clear`; without it, the value's type
        is called without arguments. Reads and writes work on copies, so that a test notices a forgotten `write()`. A
        write refuses what a silo would refuse, if the class of the value tells all types: a dataclass does, a list does
        not tell its items'.
        """
        fresh = default if default is not None else cast("Callable[[], S]", type(value))
        storage, form = MemoryStorage(), PlainForm(codec_without_silo(value))
        state = PersistentState(StateStore(storage), _DETACHED, "state", form, fresh)
        state._value = value
        if exists:
            state._etag = storage.seed(_DETACHED, "state", form.write(value, None).payload)
            state._exists = True
        return state

    @property
    def value(self) -> T:
        """The value in memory. Change it in place or assign a new one."""
        if isinstance(self._value, _NotLoaded):
            raise RuntimeError(f"state {self._name!r} is not loaded yet: use it from on_activate on, not in __init__")
        return self._value

    @value.setter
    def value(self, value: T) -> None:
        self._value = value

    @property
    def etag(self) -> str | None:
        """The etag of the record that memory is based on; None when nothing was ever stored."""
        return self._etag

    @property
    def exists(self) -> bool:
        """Whether the record held a value when it was last read, written or cleared."""
        return self._exists

    async def read(self) -> None:
        """Replace `value` by the stored one, or by a fresh default when there is none.

        It waits for a pending write or clear; if that succeeds, memory and storage agree and nothing is read. When the
        read fails, `value` stays as it was.
        """
        await self._request(Kind.READ)

    async def write(self) -> None:
        """Store `value`. Returns when the database has acknowledged it."""
        await self._request(Kind.WRITE)

    async def clear(self) -> None:
        """Remove the stored value; `value` becomes a fresh default."""
        await self._request(Kind.CLEAR)

    def claim_with(self, claim: int) -> None:
        """Have `load` claim the record with this number. Called by the runtime."""
        self._claim = claim

    async def load(self) -> None:
        """The first read. Called by the runtime before `on_activate`; raises as `read` does."""
        with part("storage", "state read", {"grange.type": self._grain_id.type, "grange.state": self._name}):
            await self._operations.request(Kind.READ)

    async def close(self) -> None:
        """Wait for the operations under way and refuse new ones. Called by the runtime after `on_deactivate`."""
        await self._operations.close()

    def lost_changes(self, error: BaseException) -> bool:
        """Whether an operation of this state raised `error`, and none has succeeded since. The runtime calls it."""
        return self._unsaved and vars(error).get(_RAISED_BY) is self

    @property
    def unsaved(self) -> bool:
        """Whether the last operation failed: memory may hold changes that are not stored. For the runtime."""
        return self._unsaved

    def give_up(self, why: str) -> None:
        """Store nothing any more, for this reason. Called by the runtime."""
        self._given_up = why

    # --- the unit of work of a turn: `work.py` calls these --------------------------------------------------------

    @property
    def store(self) -> StateStore:
        """The store that keeps it."""
        return self._store

    @property
    def grain_id(self) -> GrainId:
        """The grain."""
        return self._grain_id

    @property
    def operations(self) -> OperationQueue:
        """Its operations."""
        return self._operations

    @property
    def label(self) -> str:
        """Its name and that of its store, for errors."""
        return f"{self._name!r} (storage {self._store.name!r})"

    def hold(self, held: bool) -> None:
        """Take no single operations while a turn runs whose changes are stored as a whole."""
        self._held = held

    def snapshot(self) -> Written:
        """The value as it would be stored. Raises StorageError for a value that cannot be."""
        return self._encoded()

    def restore(self, before: Written) -> None:
        """Take the value of this snapshot, unless that is the value still."""
        if not self._is_as_in(before):
            self._value, self._surplus = self._decoded(before.payload, before.schema)

    def _is_as_in(self, before: Written) -> bool:
        try:
            return self._encoded().payload == before.payload
        except Exception:  # the turn has left a value that cannot be stored
            return False

    def check_open(self) -> None:
        """Raise StorageError if nothing must be stored any more."""
        if self._given_up:
            text = f"state {self._name!r} of {self._grain_id} is given up: {self._given_up}"
            raise StorageError(f"{text}; the next call loads what is stored")

    def written(self, new: Written) -> Write:
        """The write of this value."""
        return self._write_of(new)

    def checked(self) -> Check:
        """The check that the stored record is still the one that memory is based on."""
        return Check(self._grain_id, self._name, self._etag, self._claim if self._etag is not None else None)

    def adopt(self, new: Written, etag: str | None) -> None:
        """This write was stored."""
        self._etag, self._exists, self._surplus = etag, True, new.surplus
        self._unsaved, self._doubts = False, ()

    def lost(self, error: BaseException) -> None:
        """What memory holds may not be what is stored: if this error leaves the turn, the activation ends."""
        self._note_failure(error)

    async def _request(self, kind: Kind) -> None:
        if self._guard is not None:
            self._guard()
        if self._held:
            raise RuntimeError(
                f"state {self._name!r} of {self._grain_id}: a @transactional method stores its changes when it ends; "
                f"{_INSTEAD[kind]}"
            )
        try:
            with part(
                "storage", f"state {kind.value}", {"grange.type": self._grain_id.type, "grange.state": self._name}
            ):
                await self._operations.request(kind)
        except asyncio.CancelledError as error:
            self._note_failure(error)  # nothing tells this caller the outcome any more
            raise

    async def _perform(self, kind: Kind) -> None:
        if kind is not Kind.READ:
            self.check_open()
        try:
            await self._carry_out(kind)
        except Exception as error:
            self._note_failure(error)
            raise
        self._unsaved = False

    def _note_failure(self, error: BaseException) -> None:
        self._unsaved = True
        vars(error)[_RAISED_BY] = self

    async def _carry_out(self, kind: Kind) -> None:
        if kind is Kind.READ:
            is_first = isinstance(self._value, _NotLoaded)
            load = self._store.load if is_first else self._store.read_again
            self._adopt(await load(self._grain_id, self._name, self._claim))
        elif kind is Kind.WRITE:
            new = self._encoded()
            self._etag = await self._change(new)
            self._exists, self._surplus = True, new.surplus
        else:
            fresh = self._default()
            if self._doubts and self._etag is None:
                raise WriteOutcomeUnknown(
                    f"clear of state {self._name!r} of {self._grain_id}: an earlier first write is still in doubt and "
                    f"may be stored later; write again, or read"
                )
            self._etag = await self._change(None)
            self._value, self._exists, self._surplus = fresh, False, None

    async def _change(self, new: Written | None) -> str | None:
        """Perform a change. If the store holds an earlier change whose answer was lost, continue from that one.

        That is correct because the value in memory contains that change and all later ones of this activation.
        """
        stamp = self._store.stamp()
        try:
            try:
                etag = await self._store.change(self._write_of(new), stamp)
            except InconsistentStateError as error:
                if error.fenced or not await self._is_own_doubt():
                    raise
                etag = await self._store.change(self._write_of(new), stamp)
        except WriteOutcomeUnknown:
            if stamp is not None:
                self._doubts = (*self._doubts, stamp)[-MAX_DOUBTS:]
            raise
        self._doubts = ()
        return etag

    def _write_of(self, new: Written | None) -> Write:
        """The write of this, or a clear, over the record that memory is based on."""
        if new is None:
            return Write(self._grain_id, self._name, None, self._etag, claim=self._claim)
        return Write(self._grain_id, self._name, new.payload, self._etag, new.schema, self._claim, index=new.entries)

    async def _is_own_doubt(self) -> bool:
        """Whether the stored record's last change is one of ours whose answer was lost; if so, its etag is adopted."""
        if not self._doubts:
            return False
        held = await self._store.load(self._grain_id, self._name, None)
        if held.stamp not in self._doubts:
            return False
        self._etag = held.etag
        return True

    def _adopt(self, record: StateRecord) -> None:
        if record.payload is None:
            self._value, self._surplus = self._default(), None
        else:
            self._value, self._surplus = self._decoded(record.payload, record.schema)
        self._etag, self._exists = record.etag, record.payload is not None
        if self._store.unreadable is not None:
            self._store.unreadable.discard(self._grain_id, self._name)
        # If a change in doubt arrives later, it finds another etag, or the next write of this activation fails.
        self._doubts = ()

    def _encoded(self) -> Written:
        """The value as JSON that reads back as the same value. Raises StorageError and stores nothing otherwise."""
        try:
            return self._form.write(self.value, self._surplus)
        except WouldChange as error:
            raise StorageError(f"state {self._name!r} of {self._grain_id} was not written: {error}") from None
        except (TypeError, ValueError, RecursionError) as error:
            nan = " (JSON has no NaN and no infinity: they become null)" if "got `null`" in str(error) else ""
            raise StorageError(
                f"state {self._name!r} of {self._grain_id} cannot be written as JSON: {error}{nan}"
            ) from error

    def _decoded(self, payload: bytes, schema: int) -> tuple[T, Surplus | None]:
        try:
            return self._form.read(payload, schema)
        except (TypeError, ValueError, RecursionError) as error:
            key = " ([...] stands for a key of the mapping there)" if "[...]" in str(error) else ""
            known = self._form.version
            told = "" if schema == known else f" It was stored by version {schema}, and this silo has version {known}"
            unreadable = StateUnreadable(
                f"state {self._name!r} of {self._grain_id} does not fit its type: {error}{key}; "
                f"was the type changed, or the row edited?{told}",
                *(self._grain_id.type, self._grain_id.key, self._name, schema, known),
            )
            if self._store.unreadable is not None:
                self._store.unreadable.add(self._grain_id, self._name, unreadable)
            raise unreadable from error
