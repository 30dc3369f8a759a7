"""Mistakes in the definition of streamed and of blocking methods: each error has the place and the remedy."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import pytest

from grange import ConfigurationError, Grain, GrainInterface, blocking


def test_an_interface_streams_by_a_plain_def() -> None:
    """With async, type checkers and grange read a method that returns an iterator when it is awaited."""
    with pytest.raises(ConfigurationError, match=r"Api\.items is an async def .* write it as a plain `def`"):

        class Api(GrainInterface):
            async def items(self) -> AsyncIterator[int]: ...


def test_a_grain_yields_what_it_streams() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(ConfigurationError, match=r"Cart\.items is an async def .* yield the items in it, one by one"):

        class Cart(Grain):
            async def items(self) -> AsyncGenerator[int, None]:
                return numbers()  # type: ignore[return-value]


def test_a_streamed_method_does_not_fit_one_that_is_awaited() -> None:
    class Api(GrainInterface):
        async def items(self) -> list[int]: ...

    with pytest.raises(ConfigurationError, match=r"Cart\.items must be an async def without yield, because that of"):

        class Cart(Grain, Api):
            async def items(self) -> AsyncIterator[int]:  # type: ignore[override]
                yield 1


async def coroutine(self: object) -> None: ...


async def generator(self: object) -> AsyncIterator[int]:
    yield 1


def plain_generator(self: object) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (coroutine, "coroutine is an async def; write it without async"),
        (generator, "generator is a generator; return a list"),
        (plain_generator, "plain_generator is a generator; return a list"),
        (functools.partial(print), "decorates a plain def, not functools"),
    ],
)
def test_only_a_plain_def_is_blocking(wrong: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        blocking(wrong)
