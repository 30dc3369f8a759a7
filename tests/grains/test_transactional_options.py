"""`@transactional` and `@idempotent`: what contradicts them is refused when the class is defined."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from grange import (
    ConfigurationError,
    Grain,
    GrainInterface,
    always_interleave,
    blocking,
    idempotent,
    one_way,
    read_only,
    transactional,
)
from grange.grains.decorators import method_options
from grange.grains.definition import spec_of


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"reentrant": True}, "reentrant=True contradicts that; remove it"),
        ({"may_interleave": lambda method, args: True}, "may_interleave= contradicts that; remove it"),
        ({"stateless_workers": 2}, "stateless_workers= contradicts that; use an ordinary grain"),
    ],
)
def test_class_options_that_contradict_it_are_refused(keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match="add is @transactional.*" + text):

        class Cart(Grain, **keywords):
            @transactional
            async def add(self) -> None: ...


def test_methods_that_run_beside_it_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="look, which runs beside other turns, contradicts that; move it"):

        class Cart(Grain):
            @transactional
            async def add(self) -> None: ...

            @always_interleave
            async def look(self) -> None: ...

    with pytest.raises(ConfigurationError, match="items, which runs beside other turns"):

        class Shelf(Grain):
            @transactional
            async def add(self) -> None: ...

            async def items(self) -> AsyncIterator[int]:
                yield 1


@pytest.mark.parametrize("other", [read_only, always_interleave])
def test_method_options_that_contradict_it_are_refused(other: Any) -> None:
    with pytest.raises(ConfigurationError, match="contradict each other"):

        class Cart(Grain):
            @transactional
            @other
            async def add(self) -> None: ...


def test_an_option_of_the_interface_counts() -> None:
    class Api(GrainInterface):
        @read_only
        async def add(self) -> None: ...

    with pytest.raises(ConfigurationError, match="contradict each other"):

        class Cart(Grain, Api):
            @transactional
            async def add(self) -> None: ...


def test_a_streamed_method_cannot_be_transactional() -> None:
    with pytest.raises(ConfigurationError, match="@transactional has no effect on a streamed method"):

        class Cart(Grain):
            @transactional
            async def items(self) -> AsyncIterator[int]:
                yield 1


def test_a_hook_and_a_private_method_cannot_be_transactional() -> None:
    with pytest.raises(ConfigurationError, match="@transactional has no effect on a hook or a private method"):

        class Cart(Grain):
            @transactional
            async def on_activate(self) -> None: ...


@pytest.mark.parametrize("keep", [0, -1, True, "1 h", float("inf")])
def test_keep_is_a_number_of_seconds(keep: Any) -> None:
    with pytest.raises(ConfigurationError, match="keep must be a positive number of seconds"):
        idempotent(keep=keep)


def test_an_idempotent_method_is_transactional() -> None:
    @idempotent(keep=60)
    async def pay(self: object) -> None: ...

    options = method_options(pay)
    assert (options.transactional, options.keep, str(options)) == (True, 60.0, "@idempotent(keep=60)")


def test_options_are_inherited_and_the_nearest_keep_counts() -> None:
    class Api(GrainInterface):
        @idempotent(keep=60)
        async def pay(self) -> None: ...

        @transactional
        async def add(self) -> None: ...

    class Till(Grain, Api):
        @idempotent(keep=5)
        async def pay(self) -> None: ...

        async def add(self) -> None: ...

    methods = spec_of(Till).methods
    assert (methods["pay"].options.keep, methods["add"].options.transactional) == (5.0, True)


def test_it_goes_with_one_way_and_blocking() -> None:
    class Cart(Grain):
        @transactional
        @one_way
        async def note(self) -> None: ...

        @transactional
        @blocking
        def work(self) -> None: ...

    assert str(spec_of(Cart).methods["work"].options) == "@blocking, @transactional"
