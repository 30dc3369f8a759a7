"""The caller's side of a streamed method, with scripted answers: what it repeats, closes, and says when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from grange import CallTimeout, EnumerationAborted, InvalidResult, Overloaded, request_context
from grange.grains import enumeration
from grange.grains.definition import spec_of
from grange.grains.enumeration import Enumeration
from grange.grains.interface import MethodSpec
from grange.grains.items import State
from grange.proto.ids import GrainId
from tests.cluster.feed import Feed

MORE = (7, State.MORE, [1], "")
ENDED = (7, State.ENDED, [2], "")


class Silo:
    """Answers each call with the next of these, and notes its method, its arguments and its context."""

    def __init__(self, *answers: Any) -> None:
        self.answers: Iterator[Any] = iter(answers)
        self.calls: list[tuple[Any, ...]] = []
        self.contexts: list[dict[str, Any]] = []

    async def call(self, grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.calls.append((method.name, *args))
        self.contexts.append(dict(request_context))
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def items(self) -> Enumeration:
        return Enumeration(self.call, GrainId("feed", "f"), spec_of(Feed).methods["numbers"], (9,))


async def test_a_fetch_that_an_overloaded_silo_refused_is_repeated() -> None:
    """It was not executed, so no item is lost; the silo says when to come back."""
    silo = Silo(MORE, Overloaded("full", retry_after=0.0), Overloaded("full", retry_after=0.0), ENDED)
    assert [item async for item in silo.items()] == [1, 2]
    assert [call[0] for call in silo.calls] == ["numbers", "$next.numbers", "$next.numbers", "$next.numbers"]


async def test_a_silo_that_stays_overloaded_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bounded number of refusals."""
    monkeypatch.setattr(enumeration, "MOST_REFUSALS", 3)
    silo = Silo(MORE, *[Overloaded("full", retry_after=0.0) for _ in range(3)])
    with pytest.raises(EnumerationAborted, match="ended early: full"):
        _ = [item async for item in silo.items()]
    assert len(silo.calls) == 4


async def test_a_fetch_of_unknown_outcome_is_never_repeated() -> None:
    """Its items may be lost, so the stream ends, and it is not closed: its silo ends it later."""
    silo = Silo(MORE, CallTimeout("late"))
    with pytest.raises(EnumerationAborted, match="ended early: late"):
        _ = [item async for item in silo.items()]
    assert len(silo.calls) == 2


async def test_a_stream_whose_items_do_not_fit_here_is_closed() -> None:
    """The generator goes on in its silo, and would wait for the next fetch."""
    silo = Silo(MORE, InvalidResult("it does not fit"), None)
    with pytest.raises(InvalidResult):
        _ = [item async for item in silo.items()]
    assert silo.calls[-1] == ("$close.numbers", 7, True)


async def test_a_stream_is_closed_in_the_context_in_which_it_was_made() -> None:
    """The event loop closes one that is dropped, in the context of any other code."""
    silo = Silo(MORE, None)
    request_context["tenant"] = "acme"
    items = silo.items()
    assert await anext(items) == 1
    request_context["tenant"] = "other"
    await items.aclose()
    assert [context["tenant"] for context in silo.contexts] == ["acme", "acme"]
    assert request_context["tenant"] == "other"
    del request_context["tenant"]
