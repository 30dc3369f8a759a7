"""`TestContext`: the identity of one grain in a unit test, without a cluster.

A test builds the grain with it, gives it fakes of the grains that it calls, and fires its timers by hand. Methods are
called directly on the grain object, so nothing is encoded, no turn is protected and no state is loaded. Use
`TestCluster` for that.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NoReturn, TypeVar, cast

from grange.grains.blocking import run_alone
from grange.grains.definition import Addressable, spec_of
from grange.grains.finding import GrainFinder
from grange.grains.grain import Grain
from grange.grains.interface import MethodSpec
from grange.grains.ref import Reference, reference_class
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.keys import Key, decode_key, encode_key
from grange.runtime.activations.timers import check_callback, check_times
from grange.testing.unit_reminders import TestJobs, TestReminders

G = TypeVar("G", bound=Addressable)
R = TypeVar("R")
GrainType = TypeVar("GrainType", bound=Grain[Any])


class TestTimer:
    """A timer that the grain started: `await timer.fire()` runs its callback once, as a tick would.

    `due` is None once a timer without a period has fired, or after `stop`.
    """

    __test__ = False

    def __init__(
        self,
        callback: Callable[[], Awaitable[None]],
        due: float,
        period: float | None,
        interleave: bool,
        keep_alive: bool,
    ) -> None:
        check_callback(callback)
        self.callback = callback
        self.interleave = interleave
        self.keep_alive = keep_alive
        self.due: float | None = None
        self.period: float | None = None
        self.change(due, period)

    @property
    def active(self) -> bool:
        """Whether a tick is due."""
        return self.due is not None

    async def fire(self) -> None:
        """Run the callback now. Raises its error, and RuntimeError if no tick is due."""
        if self.due is None:
            raise RuntimeError("this timer is not active: it was stopped, or it has no period and has fired")
        self.due = None
        await self.callback()
        if not self.active:  # the callback has not changed it
            self.due = self.period

    def stop(self) -> None:
        """See `Timer.stop`."""
        self.due = self.period = None

    def change(self, due: float | None, period: float | None = None) -> None:
        """See `Timer.change`."""
        check_times(due, period)
        self.due, self.period = due, period


class TestContext(Generic[GrainType]):
    """Everything that a grain reaches through `self`, for one grain in a unit test.

    `context = TestContext(Cart, "ann")`, then `cart = context.build(PersistentState.detached(CartState()))`. `timers`
    are those that the grain started, in order. `deactivating` is True after `self.deactivate_when_idle()`,
    `kept_for` holds the seconds of the last `self.delay_deactivation`, and `moving_to` is the target of the last
    `self.migrate_when_idle`, or "elsewhere". `reminders` and `jobs` keep what the grain has set.
    """

    __test__ = False

    def __init__(self, grain: type[GrainType], key: Key) -> None:
        """Raises TypeError or ValueError for a key that `get_grain` would refuse."""
        spec = spec_of(grain)
        self._cls = grain
        self._fakes: dict[GrainId, Any] = {}
        self.grain_id = GrainId(spec.name, encode_key(spec.options.key, key))
        self.key = decode_key(spec.options.key, self.grain_id.key)
        self.activation_id = 1
        self.timers: list[TestTimer] = []
        self.deactivating = False
        self.moving_to: SiloAddress | str = ""
        self.kept_for = 0.0
        self.reminders = TestReminders(self._built)
        self.jobs = TestJobs()
        self._grain: GrainType | None = None

    def build(self, *args: Any, **kwargs: Any) -> GrainType:
        """The grain, made by its constructor with these arguments. It has its identity in the constructor already."""
        grain: Any = self._cls.__new__(self._cls)
        grain._grange = self
        grain.__init__(*args, **kwargs)
        self._grain = cast("GrainType", grain)
        return self._grain

    def _built(self) -> GrainType:
        if self._grain is None:
            raise RuntimeError("build the grain first: context.build(...)")
        return self._grain

    def fake(self, grain: type[Addressable], key: Key, fake: Any) -> None:
        """Let `self.get_grain(grain, key)` return `fake`: any object with the async methods that the test needs.

        Raises TypeError if the fake has a callable method of the grain that is not async.
        """
        for name, spec in spec_of(grain).methods.items():
            method = getattr(fake, name, None)
            if spec.streams and method is not None and _is_async(method):
                raise TypeError(f"the fake of {grain.__name__} needs an async generator {name!r}, not {method!r}")
            if not spec.streams and method is not None and not _is_async(method):
                raise TypeError(f"the fake of {grain.__name__} needs an async method {name!r}, not {method!r}")
        self._fakes[_id_of(grain, key)] = fake

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """The fake of a grain. Raises LookupError, with the remedy, if there is none."""
        grain_id = _id_of(grain, key)
        if grain_id not in self._fakes:
            raise LookupError(
                f"this test has no fake of {grain_id}: context.fake({grain.__name__}, {key!r}, an_object) gives it one"
            )
        return cast("G", self._fakes[grain_id])

    @property
    def finder(self) -> GrainFinder:
        """Raises RuntimeError: a unit test has no stored grains."""
        raise RuntimeError(
            f"a unit test has no cluster whose grains {self._cls.__name__} could find; set find_grains of the grain to "
            "a fake, or use TestCluster"
        )

    def reference(self) -> Reference:
        """A reference to the grain itself. It can be passed on and compared; calls through it raise RuntimeError."""
        return reference_class(spec_of(self._cls))(self.grain_id, _refuse_call)

    def start_timer(
        self,
        callback: Callable[[], Awaitable[None]],
        due: float,
        period: float | None,
        interleave: bool,
        keep_alive: bool,
    ) -> TestTimer:
        """Keep a timer in `timers`. Raises as `Grain.start_timer` does."""
        timer = TestTimer(callback, due, period, interleave, keep_alive)
        self.timers.append(timer)
        return timer

    async def run_in_thread(self, method: Callable[..., Any], function: Callable[[], R]) -> R:
        """Run the function of a `@blocking` method in a thread of its own."""
        return await run_alone(function)

    def deactivate_when_idle(self) -> None:
        """Record that the grain asked for its end."""
        self.deactivating = True

    def migrate_when_idle(self, target: SiloAddress | None = None) -> None:
        """Record that the grain asked to move, and where to."""
        self.moving_to = target or "elsewhere"

    def delay_deactivation(self, seconds: float) -> None:
        """Record the time. Raises ValueError for a time that is negative or not a number."""
        if math.isnan(seconds) or seconds < 0:
            raise ValueError(f"delay_deactivation takes 0 or more seconds, not {seconds!r}")
        self.kept_for = seconds


def _id_of(grain: type[Addressable], key: Key) -> GrainId:
    spec = spec_of(grain)
    return GrainId(spec.name, encode_key(spec.options.key, key))


def _is_async(method: object) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(method)) if callable(method) else False


def _refuse_call(grain_id: GrainId, method: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NoReturn:
    raise RuntimeError(
        f"a unit test has no cluster: the call {grain_id}.{method.name} cannot be made; give the grain a fake"
    )
