"""How references travel: in arguments, results and state, as the text of their grain id."""

from __future__ import annotations

from typing import Any, get_origin

from grange.grains.definition import Addressable, spec_of
from grange.grains.ref import GrainFactory, Reference, reference_class
from grange.proto.ids import GrainId


class References:
    """proto.values.Extension for values annotated with a grain class or interface. They decode into this process."""

    def __init__(self) -> None:
        self._factory: GrainFactory | None = None

    def bind(self, factory: GrainFactory) -> None:
        """From now on references that arrive call through this factory. Called once, at start-up."""
        self._factory = factory

    def matches(self, kind: type) -> bool:
        """Grain classes and interfaces."""
        return issubclass(get_origin(kind) or kind, Addressable)

    def encode(self, value: Any) -> Any:
        """`type/key`; a grain itself must not travel."""
        if isinstance(value, Reference):
            return str(value.id)
        if isinstance(value, Addressable):
            raise TypeError(f"a grain cannot be sent; pass self.reference instead of {type(value).__name__}")
        return NotImplemented

    def decode(self, kind: type[Any], data: Any) -> Any:
        """A reference typed as the annotation says."""
        name, slash, key = data.partition("/") if isinstance(data, str) else ("", "", "")
        if not (name and slash and key and self._factory is not None):
            raise ValueError(f"not a reference to a grain: {data!r:.80}")
        return self._factory.from_id(kind, GrainId(name, key))

    def immutable(self, kind: type) -> type | None:
        """A reference never changes."""
        return reference_class(spec_of(kind))
