"""Any sequence of operations on a few records, by writers with old and new etags, against a model."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from grange.errors import InconsistentStateError
from grange.proto.ids import GrainId
from grange.storage.memory import MemoryStorage
from grange.storage.provider import StateRecord

GRAINS = st.sampled_from([GrainId("cart", "a"), GrainId("cart", "b"), GrainId("box", "a")])
ETAGS = st.one_of(st.none(), st.integers(0, 8).map(str), st.just("made-up"))


class Etags(RuleBasedStateMachine):
    """The model: payload and counter per record. No etag is given out twice for one record."""

    def __init__(self) -> None:
        super().__init__()
        self.storage = MemoryStorage()
        self.model: dict[GrainId, tuple[bytes | None, int]] = {}
        self.given: dict[GrainId, list[str]] = {}

    @rule(grain=GRAINS, payload=st.integers().map(lambda number: str(number).encode()), etag=ETAGS)
    def write_with_any_etag(self, grain: GrainId, payload: bytes, etag: str | None) -> None:
        self.change(grain, payload, etag)

    @rule(grain=GRAINS, payload=st.integers().map(lambda number: str(number).encode()))
    def write_with_the_stored_etag(self, grain: GrainId, payload: bytes) -> None:
        self.change(grain, payload, self.stored(grain))

    @rule(grain=GRAINS, etag=ETAGS)
    def clear_with_any_etag(self, grain: GrainId, etag: str | None) -> None:
        self.change(grain, None, etag)

    @rule(grain=GRAINS)
    def clear_with_the_stored_etag(self, grain: GrainId) -> None:
        self.change(grain, None, self.stored(grain))

    @invariant()
    def reads_show_the_model(self) -> None:
        for grain, (payload, _) in self.model.items():
            assert run(self.storage.read(grain, "s")) == StateRecord(payload, self.stored(grain))

    @invariant()
    def no_etag_comes_back(self) -> None:
        for etags in self.given.values():
            assert len(set(etags)) == len(etags)

    def stored(self, grain: GrainId) -> str | None:
        return str(self.model[grain][1]) if grain in self.model else None

    def change(self, grain: GrainId, payload: bytes | None, etag: str | None) -> None:
        before = self.stored(grain)
        if etag != before:
            with pytest.raises(InconsistentStateError) as caught:
                run(self.operation(grain, payload, etag))
            assert (caught.value.stored, caught.value.given) == (before, etag)
            return
        after = run(self.operation(grain, payload, etag))
        if payload is None and before is None:
            assert after is None
            return
        self.model[grain] = (payload, int(before or 0) + 1)
        assert after == self.stored(grain)
        self.given.setdefault(grain, []).append(after)

    def operation(self, grain: GrainId, payload: bytes | None, etag: str | None) -> Coroutine[Any, Any, Any]:
        if payload is None:
            return self.storage.clear(grain, "s", etag)
        return self.storage.write(grain, "s", payload, etag)


def run(operation: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(operation)


TestEtags = Etags.TestCase
TestEtags.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
