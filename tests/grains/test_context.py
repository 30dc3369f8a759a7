"""The request context as a mapping. The tests that it follows calls are in tests/cluster."""

from __future__ import annotations

import asyncio

import pytest

from grange import request_context
from grange.grains.context import context_values


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
