"""How the values of one type of state are stored, and how rows of other versions of the type are read.

Called by `state.py`. A row of this version whose fields the classes all know is decoded, and written, in one step.
Other rows are read as plain data first: upgraded version by version, old names of fields replaced, unknown fields kept.
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from grange.errors import ConfigurationError
from grange.proto.checks import Found
from grange.proto.values import TypedCodec
from grange.proto.zones import class_as_any, is_dict
from grange.storage.sets import IndexEntry
from grange.storage.states.codec import StateCodec, encode_and_compare, text_of
from grange.storage.states.index import Index
from grange.storage.states.layout import UNSEEN, Layout
from grange.storage.states.schema import UNDECLARED, StateSchema
from grange.storage.states.unknown import Kept, drop_fields, put_back, unknown_fields

T = TypeVar("T")


class WouldChange(ValueError):
    """A value that would not read back as it was."""


class Surplus(NamedTuple):
    """What a row holds beyond its value: the version that stored it, if it is newer, and unknown fields."""

    schema: int
    fields: Kept


class Written(NamedTuple):
    """What is stored of a value. `surplus` is what memory holds beside the value once this is stored.

    `entries` are those of its indexed fields.
    """

    payload: bytes
    schema: int
    surplus: Surplus | None
    entries: tuple[IndexEntry, ...] = ()


class StateForm(Protocol[T]):
    """How one state is stored. The runtime provides one per type of state."""

    @property
    def version(self) -> int:
        """The version of the type."""
        ...

    def read(self, payload: bytes, schema: int) -> tuple[T, Surplus | None]:
        """The value of a row that this version stored. Raises TypeError or ValueError if it does not fit."""
        ...

    def write(self, value: T, surplus: Surplus | None) -> Written:
        """What to store. Raises TypeError or ValueError for a value that would not read back equal."""
        ...


class PlainForm(Generic[T]):
    """The form of a codec alone: version 1, and nothing is kept beside the value."""

    version = 1

    def __init__(self, codec: StateCodec[T]) -> None:
        self._codec = codec

    def read(self, payload: bytes, schema: int) -> tuple[T, Surplus | None]:
        """See `StateForm.read`."""
        return self._codec.decode(payload), None

    def write(self, value: T, surplus: Surplus | None) -> Written:
        """See `StateForm.write`."""
        return Written(_checked(self._codec, value), 1, None)


class TypedForm(Generic[T]):
    """The form of a type, as its classes declare it with `@state_schema` and `Renamed`."""

    def __init__(self, codec: TypedCodec, place: str) -> None:
        """Raises ConfigurationError, with the place, for a declaration without effect."""
        self._codec = codec
        self._layout = layout = Layout(codec.info)
        root = layout.root()
        self._schema: StateSchema = UNDECLARED if root is None else root.schema
        for part in layout.parts():
            if part is not root and (part.schema.version, part.schema.oldest) != (1, 1):
                raise ConfigurationError(
                    f"{place}: version={part.schema.version} of {part.name} has no effect, because the version of a "
                    "state is that of its own class; declare the version and its upgrades there"
                )
        self.index = Index(layout, place)

    @property
    def version(self) -> int:
        """See `StateForm.version`."""
        return self._schema.version

    @property
    def oldest(self) -> int:
        """The oldest version whose rows can be read."""
        return self._schema.oldest

    def read(self, payload: bytes, schema: int) -> tuple[T, Surplus | None]:
        """See `StateForm.read`."""
        if schema == self.version and not self._layout.has_renamed:
            value = self._codec.decode(payload)
            if not self._layout.has_fields or self._is_written_as(value, payload):
                return value, None
        data = self._upgraded(msgspec.json.decode(payload), schema)
        self._use_new_names(data)
        drop_fields(self._layout, data)
        value = self._codec.decode(msgspec.json.encode(data))
        kept = unknown_fields(self._layout, data, value)
        return value, Surplus(schema, kept) if kept or schema > self.version else None

    def write(self, value: T, surplus: Surplus | None) -> Written:
        """See `StateForm.write`."""
        payload = _checked(self._codec, value)
        entries = self.index.entries(value) if self.index else ()
        if surplus is None and not self._layout.has_written:
            return Written(payload, self.version, None, entries)
        data = msgspec.json.decode(payload)
        kept = put_back(self._layout, surplus.fields, data, value) if surplus is not None else ()
        self._use_old_names(data)
        schema = self.version if surplus is None else max(surplus.schema, self.version)
        left = Surplus(schema, kept) if kept or schema > self.version else None
        return Written(msgspec.json.encode(data), schema, left, entries)

    def _is_written_as(self, value: T, payload: bytes) -> bool:
        """Whether this value is stored as this payload, so that the payload holds nothing else."""
        codec = self._codec
        try:
            # What was decoded needs no check. Only some moments are written in another way than by the first.
            return codec.write(value) == payload or codec.encode(value, Found(trying=True)) == payload
        except (TypeError, ValueError):  # it can be read but not written: the data tell
            return False

    def _upgraded(self, data: Any, schema: int) -> Any:
        """The data as this version stores them. Those of a newer version are left as they are."""
        if schema < self._schema.oldest:
            raise ValueError(f"rows of version {schema} are not read since oldest={self._schema.oldest}")
        for step in range(schema, self.version):
            try:
                data = self._schema.upgrades[step](data)
            except Exception as error:  # of the author's function
                raise ValueError(f"the upgrade of version {step} raised {type(error).__name__}: {error}") from error
            if not is_dict(data):
                kind = class_as_any(data).__name__
                raise ValueError(f"the upgrade of version {step} must return a dict, and returned a {kind}")
        return data

    def _use_new_names(self, data: Any) -> None:
        if not self._layout.has_renamed:
            return
        for spot in self._layout.spots(data, UNSEEN):
            for old, name in spot.part.renamed.items():
                if old in spot.data:
                    spot.data.setdefault(name, spot.data[old])
                    del spot.data[old]

    def _use_old_names(self, data: Any) -> None:
        if not self._layout.has_written:
            return
        for spot in list(self._layout.spots(data, UNSEEN)):
            for name, old in spot.part.written.items():
                if name in spot.data:
                    spot.data[old] = spot.data.pop(name)


def _checked(codec: StateCodec[T], value: T) -> bytes:
    payload, found = encode_and_compare(codec, value)
    if found is not None:
        raise WouldChange(text_of(found))
    return payload
