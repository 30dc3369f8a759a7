"""What is written in a wrong form is refused, and the message shows the right one."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from grange import (
    ConfigurationError,
    Grain,
    SiloAddress,
    allow_reentrancy,
    always_interleave,
    blocking,
    cancellable,
    idempotent,
    one_way,
    placement_hint,
    read_only,
    response_timeout,
    suppress_reentrancy,
    transactional,
)
from grange.testing import TestCluster


@pytest.mark.parametrize("decorator", [read_only, always_interleave, one_way, blocking, transactional])
def test_a_decorator_without_options_takes_no_parentheses(decorator: Any) -> None:
    name = decorator.__name__
    with pytest.raises(ConfigurationError, match=f"a wrong form of @{name}: write @{name} without parentheses$"):
        decorator()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: cancellable(wait=1), "wait= of @cancellable is True or False, not 1"),  # type: ignore[call-overload]
        (lambda: cancellable(wait="yes"), "True or False, not 'yes'"),  # type: ignore[call-overload]
        (lambda: cancellable(True), r"write @cancellable\(wait=True\)"),  # type: ignore[call-overload]
        (lambda: idempotent(test_a_wrong_option_is_refused), r"write @idempotent\(keep=86400\)"),  # type: ignore[call-arg]
        (lambda: idempotent(), r"write @idempotent\(keep=86400\)"),  # type: ignore[call-arg]
        (lambda: response_timeout(5, cancel=1), "cancel= of @response_timeout is True or False, not 1"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_option_is_refused(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        wrong()


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (allow_reentrancy, "allow_reentrancy()"),
        (suppress_reentrancy, "suppress_reentrancy()"),
        (lambda: placement_hint(SiloAddress("a", 1, 1)), "placement_hint(silo)"),
    ],
)
def test_a_block_without_with_warns(make: Callable[[], object], form: str) -> None:
    with pytest.warns(RuntimeWarning) as found:
        make()
    assert [str(each.message) for each in found] == [f"{form} has no effect without a block: write `with {form}:`"]


def test_a_block_that_was_refused_or_used_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError, match="takes a SiloAddress"):
            placement_hint("silo-1")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            allow_reentrancy(1)  # type: ignore[call-arg]
        with pytest.raises(RuntimeError, match="in a method or a timer"), allow_reentrancy():
            pass
        hint = placement_hint(SiloAddress("a", 1, 1))
        with hint:
            pass
        with pytest.raises(RuntimeError, match="begun already"), hint:
            pass
        del hint
        gc.collect()


class Cart(Grain, name="cart"):
    async def add(self) -> int:
        return 1


async def test_a_forgotten_await_is_named_by_the_method_of_the_grain() -> None:
    async with TestCluster([Cart], silos=1) as cluster:
        for near_or_far in (cluster.silos[0], cluster):
            reference = near_or_far.get_grain(Cart, "ann")
            with pytest.warns(RuntimeWarning, match=r"coroutine 'Cart\.add' was never awaited"):
                reference.add()  # type: ignore[unused-coroutine]
