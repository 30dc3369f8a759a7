"""What the directory needs from the rest of a silo; `silo/startup.py` fills it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import msgspec

from grange.directory.options import DirectoryOptions
from grange.directory.slice.current_view import Refresh
from grange.directory.slice.local_registrations import RegisteredHere
from grange.placement.provider import PlacementStrategy
from grange.proto.ids import GrainAddress, SiloAddress
from grange.runtime.system_target import Ask


class DirectoryDeps(msgspec.Struct, frozen=True, kw_only=True):
    """One silo's connections to its directory room.

    `registered` is asked while other tasks stand still. From the moment that `claim` has returned an activation as the
    winner until the moment that `release` is called for it, the activation must be there, carrying the version that
    `claim` returned; and at no other time; `is_registered` says it of one. `is_here` says whether this very activation
    exists in whatever phase: at least from before `claim` is called until after `release` has returned. `lost` is
    called when an activation of this silo turns out not to be its grain's one: drop it without releasing it; `doubted`
    when it is, but another one ran beside it and may have written its state: end it in order, if it keeps state.
    """

    me: SiloAddress
    ask: Ask
    refresh: Refresh
    registered: RegisteredHere
    is_registered: Callable[[GrainAddress], bool]
    is_here: Callable[[GrainAddress], bool]
    lost: Callable[[GrainAddress], None]
    doubted: Callable[[GrainAddress], None]
    strategies: Mapping[str, PlacementStrategy]
    random: Random
    options: DirectoryOptions = DirectoryOptions()
