"""The request context as a mapping. The tests that it follows calls are in tests/cluster."""

from __future__ import annotations

import asyncio

import pytest

from grange import request_context
from grange.grains.context import CONTEXT_LIMIT, context_values
from tests.proto.generated import Level, Word


async def test_it_is_a_mapping() -> None:
    request_context["a"] = 1
    request_context.update(b="x", c=None)
    assert dict(request_context) == {"a": 1, "b": "x", "c": None}
    assert len(request_context) == 3
    assert request_context.pop("a") == 1
    assert request_context.setdefault("d", b"y") == b"y"
    assert "request_context({'b': 'x'" in repr(request_context)
    request_context.clear()
    assert list(request_context) == []
    with pytest.raises(KeyError):
        del request_context["a"]


async def test_a_change_is_a_new_mapping() -> None:
    """A call that was made with the old mapping keeps it."""
    request_context["a"] = 1
    held = context_values.get()
    request_context["a"] = 2
    del request_context["a"]
    assert held == {"a": 1}


async def test_tasks_have_their_own() -> None:
    request_context["a"] = 1

    async def change() -> int:
        request_context["a"] = 2
        return len(request_context)

    assert await asyncio.create_task(change()) == 1
    assert request_context["a"] == 1


async def test_a_value_of_a_derived_class_is_kept_as_every_process_gets_it() -> None:
    request_context.update(word=Word.YES, level=Level.HIGH, flag=True)
    assert [type(value) for value in request_context.values()] == [str, int, bool]
    assert dict(request_context) == {"word": "yes", "level": 2, "flag": True}


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800", "x" * CONTEXT_LIMIT, b"x" * CONTEXT_LIMIT])
async def test_what_no_call_can_carry_is_refused_when_it_is_set(value: str | int | bytes) -> None:
    request_context["a"] = 1
    with pytest.raises(ValueError, match="'big'"):
        request_context["big"] = value
    assert dict(request_context) == {"a": 1}


async def test_the_limit_counts_all_values_together() -> None:
    for number in range(3):
        request_context[f"part-{number}"] = "x" * 5_000
    with pytest.raises(ValueError, match=r"the request context would have 20,0\d\d bytes with 'part-3'.*16,384"):
        request_context["part-3"] = "x" * 5_000
    request_context["part-2"] = "less"
    request_context["part-3"] = "x" * 5_000


@pytest.mark.parametrize("key", [1, b"a", Word.YES])
async def test_keys_are_texts(key: object) -> None:
    with pytest.raises(TypeError, match="request context keys are str"):
        request_context[key] = 1  # type: ignore[index]
