"""Grain, the base class of grains, and GrainInterface, the base class of contracts without code."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Generic, Protocol, Self, Unpack, cast
from uuid import UUID

from typing_extensions import TypeVar

from grange.grains.deactivation import DeactivationReason
from grange.grains.definition import Addressable, define
from grange.grains.finding import FindOptions, GrainFinder, ListOptions, StoredGrain
from grange.grains.options import GrainKeywords, InterfaceKeywords
from grange.grains.service import SiloService
from grange.grains.tick import Jobs, Reminders
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.keys import Key

K = TypeVar("K", bound="str | int | UUID | tuple[str | int | UUID, ...]", default=str)
G = TypeVar("G", bound=Addressable)
S = TypeVar("S", bound=SiloService)
R = TypeVar("R")


class Timer(Protocol):
    """A running timer of an activation."""

    def stop(self) -> None:
        """Stop the timer: no tick starts after this."""
        ...

    def change(self, due: float | None, period: float | None = None) -> None:
        """Tick in `due` seconds (None: never), then `period` seconds after each tick ends (None: once).

        Raises ValueError for a negative time, one over ten years, and a period below 0.001.
        """
        ...


class GrainContext(Protocol):
    """The interface of an activation to its grain; `runtime/activations/activation.py` implements it."""

    @property
    def grain_id(self) -> GrainId:
        """The grain's id."""
        ...

    @property
    def key(self) -> Key:
        """The key, in the type that the class declares."""
        ...

    @property
    def activation_id(self) -> int:
        """A random 128-bit number, different for each activation."""
        ...

    def reference(self) -> Any:
        """A reference to this grain."""
        ...

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """As `GrainFactory.get_grain`."""
        ...

    def get_service(self, service: type[S], key: Key) -> S:
        """As `Grain.get_service`."""
        ...

    @property
    def finder(self) -> GrainFinder:
        """Finds stored grains."""
        ...

    @property
    def reminders(self) -> Reminders:
        """As `Grain.reminders`."""
        ...

    @property
    def jobs(self) -> Jobs:
        """As `Grain.jobs`."""
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

    async def run_in_thread(self, method: Callable[..., Any], function: Callable[[], R]) -> R:
        """Run the function of this `@blocking` method in a thread."""
        ...

    def deactivate_when_idle(self) -> None:
        """As `Grain.deactivate_when_idle`."""
        ...

    def migrate_when_idle(self, target: SiloAddress | None = None) -> None:
        """As `Grain.migrate_when_idle`."""
        ...

    def delay_deactivation(self, seconds: float) -> None:
        """As `Grain.delay_deactivation`."""
        ...


class GrainInterface(Addressable):
    """A contract without code: async methods with `...` as bodies. Clients import it instead of the grain.

    Write `class CartApi(GrainInterface): ...`, then `class Cart(Grain, CartApi)` and `get_grain(CartApi, "ann")`. The
    class keywords are those of a grain (`name=`, `key=`, `version=`, `errors=`).
    """

    __slots__ = ()

    def __init_subclass__(cls, **keywords: Unpack[InterfaceKeywords]) -> None:
        if issubclass(cls, Grain):  # it implements the interface: Grain defines it
            super().__init_subclass__(**cast("Any", keywords))
            return
        super().__init_subclass__()
        define(cls, keywords, _BASE_NAMES, is_interface=True)


class Grain(Addressable, Generic[K]):
    """A virtual actor: a class whose instances live in a cluster, one per key, activated by the first call.

    Derive from it (`Grain[int]` for integer keys), write public `async def` methods, and get a reference from
    `get_grain`. Calls to one activation run one at a time, unless the class or the method has another option. The
    parameters of `__init__` are injected: `PersistentState[T]` facets, and services by type.
    """

    __slots__ = ("_grange",)
    _grange: GrainContext

    def __init_subclass__(cls, **keywords: Unpack[GrainKeywords]) -> None:
        super().__init_subclass__()  # Generic collects the type variables of the class
        define(cls, keywords, _BASE_NAMES, is_interface=False)

    @property
    def key(self) -> K:
        """The grain's key, unique among the grains of this class."""
        return cast("K", self._context.key)

    @property
    def id(self) -> GrainId:
        """The grain's id: its type and its key."""
        return self._context.grain_id

    @property
    def activation_id(self) -> str:
        """32 random hex digits that identify this activation; every activation of the grain has different ones."""
        return f"{self._context.activation_id:032x}"

    @property
    def reference(self) -> Self:
        """A reference to this grain, for arguments, results and state. `self` must not be passed."""
        return cast("Self", self._context.reference())

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """A reference to another grain (see `GrainFactory.get_grain`)."""
        return self._context.get_grain(grain, key, implementation=implementation)

    def get_service(self, service: type[S], key: Key) -> S:
        """A reference to the object of a silo service that owns this key, typed as its class. Does no I/O.

        Raises ConfigurationError for a class that is no SiloService.
        """
        return self._context.get_service(service, key)

    def list_grains(self, grain: type[G], **options: Unpack[ListOptions]) -> AsyncGenerator[StoredGrain[G]]:
        """The stored grains of a class, page by page: see `GrainFinder.list_grains`."""
        return self._context.finder.list_grains(grain, **options)

    def find_grains(
        self, grain: type[G], where: Mapping[str, Any], **options: Unpack[FindOptions]
    ) -> AsyncGenerator[G]:
        """The grains with these values in indexed fields, page by page: see `GrainFinder.find_grains`."""
        return self._context.finder.find_grains(grain, where, **options)

    @property
    def reminders(self) -> Reminders:
        """The reminders of this grain: durable, unlike timers. A tick activates it and calls `on_reminder(tick)`."""
        return self._context.reminders

    @property
    def jobs(self) -> Jobs:
        """Durable one-shot jobs, of this grain or any other. One that is due calls `on_job(job)` of its grain."""
        return self._context.jobs

    def start_timer(
        self,
        callback: Callable[[], Awaitable[None]],
        due: float,
        period: float | None = None,
        *,
        interleave: bool = False,
        keep_alive: bool = False,
    ) -> Timer:
        """Call `callback` in `due` seconds, then `period` seconds after each tick ends (None: once).

        A tick is a queued request of this activation and waits for its turn; with `interleave` it does not wait. Ticks
        delay the idle collector only with `keep_alive`. Timers end with the activation. Raises TypeError for a
        callback that is not an async function without arguments, and ValueError for a negative time, one over ten
        years, and a period below 0.001.
        """
        return self._context.start_timer(callback, due, period, interleave, keep_alive)

    def deactivate_when_idle(self) -> None:
        """End this activation after the running requests. Later calls activate the grain again."""
        self._context.deactivate_when_idle()

    def migrate_when_idle(self, target: SiloAddress | None = None) -> None:
        """Move this activation to `target`, or to the silo that its placement chooses, after the running requests.

        The class may carry what it holds in memory: `async def dehydrate(self) -> T` returns it after the last turn,
        and `async def rehydrate(self, memory: T) -> None` of the new activation gets it, before `on_activate`. States
        are read again. Does nothing if no other silo can take the grain. Raises ValueError for a target that cannot,
        and RuntimeError for a class that does not move, or before the activation is active.
        """
        self._context.migrate_when_idle(target)

    def delay_deactivation(self, seconds: float) -> None:
        """Do not collect this activation for `seconds` from now (0: cancel the delay; `math.inf`: never collect it)."""
        self._context.delay_deactivation(seconds)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A grain is one activation, not a value: raises TypeError. `copy`, `deepcopy` and `pickle` call it."""
        raise TypeError(
            f"a grain cannot be copied or pickled; pass self.reference, or the values in it, instead of this "
            f"{type(self).__name__}"
        )

    async def on_activate(self) -> None:
        """Called once before the first request, with the state loaded. Waiting callers get the error that it raises."""

    async def on_deactivate(self, reason: DeactivationReason) -> None:
        """Called once after the last request, but not after a crash or a kill. Errors are logged."""

    @property
    def _context(self) -> GrainContext:
        try:
            return self._grange
        except AttributeError:
            raise RuntimeError(
                f"this {type(self).__name__} was built outside a silo and has no identity; "
                "grange.testing.TestContext gives it one in a unit test"
            ) from None


_BASE_NAMES = frozenset(dir(Grain))
