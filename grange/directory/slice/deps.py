"""The dependencies of the directory's parts: the rest of the silo (`DirectoryDeps`) and the silo's slice (`Slice`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random

import msgspec

from grange.aio.tasks import Tasks
from grange.directory.options import DirectoryOptions
from grange.directory.slice.current_view import CurrentView, Refresh
from grange.directory.slice.hold_timers import HoldTimers
from grange.directory.slice.local_registrations import RegisteredHere
from grange.directory.slice.partition import Conflict, Partition
from grange.observability.counters import DirectoryFigures
from grange.observability.events import Events
from grange.placement.loads import Loads
from grange.placement.provider import PlacementStrategy
from grange.placement.versions import VersionPolicy
from grange.proto.ids import GrainAddress, SiloAddress
from grange.runtime.observers.routes import ClientState
from grange.runtime.system_target import Ask


class DirectoryDeps(msgspec.Struct, frozen=True, kw_only=True):
    """The silo's functions and values that the directory uses. Filled in by `silo/preparing.py`.

    `registered` lists this silo's registered activations, synchronously. An activation is in the list from the moment
    that `claim` returns it as the winner until the moment that `release` is called for it, and at no other time. It
    carries the version that `claim` returned. `is_registered` answers the same for one activation.

    `has_activation` answers whether this very activation exists, in any phase. It must be true at least from before
    `claim` is called until after `release` has returned.

    `end_unregistered` ends an activation of this silo that turned out not to be the registered one of its grain. It
    must not release the entry. `end_if_stateful` ends a registered activation in order if it keeps state, because a
    second activation ran beside it and may have written that state.

    `client_state` tells whether a client is connected to this silo. `loads`: what this silo knows of the loads of all
    silos. `versions` has the rules by which a version of an interface serves a caller. `figures` counts what this part
    does.
    """

    me: SiloAddress
    ask: Ask
    refresh: Refresh
    registered: RegisteredHere
    is_registered: Callable[[GrainAddress], bool]
    has_activation: Callable[[GrainAddress], bool]
    end_unregistered: Callable[[GrainAddress], None]
    end_if_stateful: Callable[[GrainAddress], None]
    client_state: Callable[[str], ClientState] = lambda _: ClientState.UNKNOWN
    strategies: Mapping[str, PlacementStrategy]
    rng: Random
    events: Events
    loads: Loads
    options: DirectoryOptions = DirectoryOptions()
    versions: VersionPolicy = msgspec.field(default_factory=VersionPolicy)
    figures: DirectoryFigures = msgspec.field(default_factory=DirectoryFigures)


class Slice(msgspec.Struct, frozen=True):
    """This silo's slice and what its parts share. Built by `cluster.py`, which also awaits `tasks`."""

    deps: DirectoryDeps
    current: CurrentView
    partition: Partition
    hold_timers: HoldTimers
    report_conflicts: Callable[[Iterable[Conflict]], None]
    tasks: Tasks
