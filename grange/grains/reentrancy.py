"""`allow_reentrancy` and `suppress_reentrancy`: whether the calls of a part of a turn may come back into its grain."""

from __future__ import annotations

from contextvars import Token
from typing import ClassVar, Protocol, runtime_checkable

from grange.grains.context import Turn, current_turn
from grange.grains.with_block import WithBlock


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


class _Reentrancy(WithBlock):
    __slots__ = ("_around", "_scope", "_token")
    ALLOWS: ClassVar[bool]
    _around: _Scoped
    _scope: _Scope
    _token: Token[Turn | None]

    def _begin(self) -> None:
        around = current_turn.get()
        if not isinstance(around, _Scoped):
            raise RuntimeError(f"{self.FORM} has no effect here: use it in a method or a timer of a grain")
        self._around, self._scope = around, around.scope(self.ALLOWS)
        self._token = current_turn.set(self._scope)

    def _end(self) -> None:
        current_turn.reset(self._token)
        if self._scope is not self._around:
            self._scope.close()


class allow_reentrancy(_Reentrancy):
    """Let the calls made within this block come back into this grain while their turn runs.

    A request that descends from a call of this block runs beside the turn at once, as if it always interleaved, until
    the block ends. Requests of other call chains wait as usual. Use it where a called grain calls back; without it such
    a call fails with `DeadlockError`. Blocks may be nested. Raises RuntimeError outside a method or timer of a grain.
    """

    __slots__ = ()
    FORM = "allow_reentrancy()"
    ALLOWS = True


class suppress_reentrancy(_Reentrancy):
    """Let the calls made within this block come back into no grain: what `allow_reentrancy` opened around it, here or
    in a caller, does not count for them. Raises RuntimeError outside a method or timer of a grain.
    """

    __slots__ = ()
    FORM = "suppress_reentrancy()"
    ALLOWS = False
