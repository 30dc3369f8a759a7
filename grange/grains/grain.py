"""Grain: the class an author derives from, and GrainInterface: a contract apart from its code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, Self, Unpack, cast
from uuid import UUID

from typing_extensions import TypeVar

from grange.grains.definition import Addressable, define
from grange.grains.options import GrainKeywords
from grange.proto.ids import GrainId
from grange.proto.keys import Key

K = TypeVar("K", bound="str | int | UUID | tuple[str | int | UUID, ...]", default=str)
G = TypeVar("G", bound=Addressable)


class Timer(Protocol):
    """A running timer of an activation."""

    def stop(self) -> None:
        """No tick starts after this."""
        ...

    def change(self, due: float | None, period: float | None = None) -> None:
        """Next tick in `due` seconds (None: never), then each `period` after the end of the last (None: once)."""
        ...


class GrainContext(Protocol):
    """What an activation offers to its grain; `runtime/activations/activation.py` implements it."""

    @property
    def grain_id(self) -> GrainId:
        """The identity."""
        ...

    @property
    def key(self) -> Key:
        """The key, in the kind the class declared."""
        ...

    @property
    def activation_id(self) -> str:
        """Random text that names this activation, different at each one."""
        ...

    def reference(self) -> Any:
        """A reference to this grain."""
        ...

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """As `GrainFactory.get_grain`."""
        ...

    def start_timer(
        self,
        callback: Callable[[], Awaitable[None]],
        due: float,
        period: float | None,
        interleave: bool,
        keep_alive: bool,
    ) -> Timer:
        """As `Grain.start_timer`."""
        ...

    def deactivate_when_idle(self) -> None:
        """As `Grain.deactivate_when_idle`."""
        ...

    def delay_deactivation(self, seconds: float) -> None:
        """As `Grain.delay_deactivation`."""
        ...


class GrainInterface(Addressable):
    """A contract apart from its code: async methods with `...` for bodies, so that clients need not import the grain.

    `class CartApi(GrainInterface): ...`, then `class Cart(Grain, CartApi)` and `get_grain(CartApi, "ann")`. Class
    keywords are those of a grain (`name=`, `key=`, `version=`, `errors=`).
    """

    __slots__ = ()

    def __init_subclass__(cls, **keywords: Unpack[GrainKeywords]) -> None:
        define(cls, keywords, _BASE_NAMES, is_interface=True)


class Grain(Addressable, Generic[K]):
    """A virtual actor: a class whose instances live in a cluster, one per key, activated by the first call.

    Derive from it (`Grain[int]` for keys that are not text), write public `async def` methods, and get a reference from
    `get_grain`. Calls to one activation run one at a time, unless the class or method says otherwise. `__init__`
    parameters are injected: `PersistentState[T]` facets, and services by type.
    """

    __slots__ = ("_grange",)
    _grange: GrainContext

    def __init_subclass__(cls, **keywords: Unpack[GrainKeywords]) -> None:
        define(cls, keywords, _BASE_NAMES, is_interface=False)

    @property
    def key(self) -> K:
        """The part of the identity that tells grains of this class apart."""
        return cast("K", self._context.key)

    @property
    def id(self) -> GrainId:
        """Type and key."""
        return self._context.grain_id

    @property
    def activation_id(self) -> str:
        """Random text that names this activation; it differs after each reactivation."""
        return self._context.activation_id

    @property
    def reference(self) -> Self:
        """A reference to this grain, for arguments, results and state. `self` itself must not be passed."""
        return cast("Self", self._context.reference())

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """A reference to another grain (see `GrainFactory.get_grain`)."""
        return self._context.get_grain(grain, key, implementation=implementation)

    def start_timer(
        self,
        callback: Callable[[], Awaitable[None]],
        due: float,
        period: float | None = None,
        *,
        interleave: bool = False,
        keep_alive: bool = False,
    ) -> Timer:
        """Call `callback` in `due` seconds, then each `period` seconds after the end of the last tick.

        A tick is a queued request of this activation and waits its turn like any other; with `interleave` it does
        not wait. It only keeps the activation from being collected with `keep_alive`. Timers end with the activation.
        Raises ValueError for a negative time or one over ten years.
        """
        return self._context.start_timer(callback, due, period, interleave, keep_alive)

    def deactivate_when_idle(self) -> None:
        """End this activation after the running requests; later calls activate the grain anew."""
        self._context.deactivate_when_idle()

    def delay_deactivation(self, seconds: float) -> None:
        """Not collect this activation for so many seconds from now (0: cancel the delay; `math.inf`: never)."""
        self._context.delay_deactivation(seconds)

    async def on_activate(self) -> None:
        """Called once before the first request; the state is loaded. What it raises reaches every waiting caller."""

    async def on_deactivate(self, reason: str) -> None:
        """Called once after the last request, when there is time: never after a crash. Errors are logged."""

    @property
    def _context(self) -> GrainContext:
        try:
            return self._grange
        except AttributeError:
            raise RuntimeError(
                f"this {type(self).__name__} was built outside a silo and has no identity; "
                "use grange.testing.TestCluster to test what needs one"
            ) from None


_BASE_NAMES = frozenset(dir(Grain))
