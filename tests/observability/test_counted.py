"""Numbers with their nouns, also in the texts of events."""

from __future__ import annotations

import re
import string

import pytest

from grange.counted import counted
from grange.observability.events import Event
from grange.observability.turn_events import TurnStuck
from tests.docs.event_catalogue import kinds


def test_a_number_agrees_with_its_noun() -> None:
    assert [counted(n, "call") for n in (0, 1, 2, 1_000)] == ["0 calls", "1 call", "2 calls", "1,000 calls"]
    assert [counted(n, "entry waits", "entries wait") for n in (1, 2)] == ["1 entry waits", "2 entries wait"]


def test_the_sentence_of_an_event_agrees_with_its_numbers() -> None:
    one = TurnStuck("cart", "cart/ann", "add", 30.0, 1, 1, "")
    assert one.text("a:1@1").endswith("30 s, and 1 request waits for it; silo a:1@1 has 1 such turn")
    two = TurnStuck("cart", "cart/ann", "add", 30.0, 2, 2, "")
    assert two.text("a:1@1").endswith("30 s, and 2 requests wait for it; silo a:1@1 has 2 such turns")


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.NAME)
def test_a_number_in_a_sentence_has_its_noun_beside_it(kind: type[Event]) -> None:
    """`{calls} calls` would read `1 calls`: write `{calls:call/}`."""
    parts = [*string.Formatter().parse(kind.SENTENCE)]
    for (_, name, spec, _), (after, *_) in zip(parts, [*parts[1:], ("", None, None, None)], strict=True):
        if name in kind.__struct_fields__ and kind.__annotations__[name] == "int" and "/" not in (spec or ""):
            assert not re.match(r" [a-z]+s\b", after), f"{{{name}}}{after}"
