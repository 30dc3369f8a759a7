"""`allow_reentrancy` and `suppress_reentrancy`: whether the calls of a part of a turn may come back into its grain."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from grange.grains.context import Turn, current_turn


@runtime_checkable
class _Scoped(Turn, Protocol):
    """A turn, or a scope of one; `runtime/requests/` implements it. The hooks of a grain are no turns."""

    def scope(self, allows: bool) -> _Scope:
        """Begin a part of it."""
        ...


class _Scope(_Scoped, Protocol):
    def close(self) -> None:
        """End it."""
        ...


@contextmanager
def allow_reentrancy() -> Generator[None]:
    """Let the calls made within this block come back into this grain while their turn runs.

    A request that descends from a call of this block runs beside the turn at once, as if it always interleaved, until
    the block ends. Requests of other call chains wait as usual. Use it where a called grain calls back; without it such
    a call fails with `DeadlockError`. Blocks may be nested. Raises RuntimeError outside a method or timer of a grain.
    """
    with _scope("allow_reentrancy", allows=True):
        yield


@contextmanager
def suppress_reentrancy() -> Generator[None]:
    """Let the calls made within this block come back into no grain: what `allow_reentrancy` opened around it, here or
    in a caller, does not count for them. Raises RuntimeError outside a method or timer of a grain.
    """
    with _scope("suppress_reentrancy", allows=False):
        yield


@contextmanager
def _scope(name: str, allows: bool) -> Generator[None]:
    around = current_turn.get()
    if not isinstance(around, _Scoped):
        raise RuntimeError(f"{name}() has no effect here: use it in a method or a timer of a grain")
    scope = around.scope(allows)
    token = current_turn.set(scope)
    try:
        yield
    finally:
        current_turn.reset(token)
        if scope is not around:
            scope.close()
