"""Placement by the labels of silos: a filter over another strategy, and the role that a key names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from grange.errors import ActivationFailed, ConfigurationError
from grange.placement.custom import as_strategy
from grange.placement.provider import Choose, NamedStrategy, PlacementContext, PlacementStrategy
from grange.placement.strategies import LeastLoaded, PreferLocal, RandomChoice, RingOwner, StatelessWorker
from grange.proto.ids import SiloAddress


class LabelFilter(msgspec.Struct, frozen=True):
    """Leaves the candidates with certain labels to another strategy. Made by `by_label`."""

    require: tuple[str, ...]
    prefer: tuple[str, ...]
    at_least: int
    strategy: PlacementStrategy

    @property
    def name(self) -> str:
        """The other strategy and the labels, such as `ring, require gpu, prefer eu`."""
        parts = [("require", self.require), ("prefer", self.prefer)]
        return ", ".join([self.strategy.name, *(f"{word} {'+'.join(labels)}" for word, labels in parts if labels)])

    @property
    def computed(self) -> bool:
        """As the other strategy: the labels are in the view of the cluster."""
        return self.strategy.computed

    @property
    def uses_loads(self) -> bool:
        """As the other strategy."""
        return self.strategy.uses_loads

    def choose(self, context: PlacementContext) -> SiloAddress:
        """The choice of the other strategy among the silos left. Raises ActivationFailed if none has what is required.

        The silos that have all preferred labels come first. While there are fewer than `at_least` of them, the last
        preference is dropped.
        """
        required = frozenset(self.require)
        able = [silo for silo in context.candidates if required <= context.labels_of(silo)]
        if not able:
            wanted = " and ".join(map(repr, self.require))
            raise ActivationFailed(
                f"{context.grain_id} was not activated: no active silo that hosts it has the label {wanted}; "
                "start one with labels=[...]"
            )
        for count in range(len(self.prefer), 0, -1):
            preferred = frozenset(self.prefer[:count])
            best = [silo for silo in able if preferred <= context.labels_of(silo)]
            if len(best) >= self.at_least:
                able = best
                break
        return self.strategy.choose(context.among(able))


class ByRole(msgspec.Struct, frozen=True):
    """Places a grain on a silo that has the grain's key as a label: one grain for each role of silos."""

    name: str = "role"
    computed: bool = True
    uses_loads: bool = False

    def choose(self, context: PlacementContext) -> SiloAddress:
        """The ring owner among the silos of the role. Raises ActivationFailed if no silo has it."""
        role = context.grain_id.key
        able = [silo for silo in context.candidates if role in context.labels_of(silo)]
        if not able:
            raise ActivationFailed(
                f"{context.grain_id} was not activated: no active silo that hosts it has the role {role!r}; start one "
                f"with labels=[{role!r}]"
            )
        return context.among(able).ring_owner


def by_label(
    strategy: str | NamedStrategy | PlacementStrategy | Choose = "ring",
    *,
    require: str | Sequence[str] = (),
    prefer: str | Sequence[str] = (),
    at_least: int = 1,
) -> LabelFilter:
    """A strategy for `placement=`: silos with the required labels, and first those with the preferred ones.

    `prefer` is in order of importance: while fewer than `at_least` silos have all of them, the last is dropped. Among
    the silos left, `strategy` chooses: the name of a built-in one, or one of yours. Filters may be nested; the outer
    one comes first. Raises ConfigurationError for no labels, for what is no word, and for a label in both.
    """
    required, preferred = _words("require", require), _words("prefer", prefer)
    if not required and not preferred:
        raise ConfigurationError("by_label needs a label: require= or prefer=")
    if both := sorted({*required} & {*preferred}):
        raise ConfigurationError(f"by_label: {both[0]!r} is required, so to prefer it has no effect; remove it there")
    least: Any = at_least
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise ConfigurationError(f"by_label: at_least={at_least!r} must be a whole number, 1 or more")
    if at_least > 1 and not preferred:
        raise ConfigurationError("by_label: at_least= has no effect without prefer=; remove it")
    return LabelFilter(required, preferred, at_least, _inner(strategy))


def builtin_strategies() -> dict[str, PlacementStrategy]:
    """The built-in strategies by name. At its start, a silo adds those of its classes and of `Silo(placement=...)`."""
    known: tuple[PlacementStrategy, ...] = (
        RingOwner(), RandomChoice(), PreferLocal(), LeastLoaded(), ByRole(), StatelessWorker()
    )  # fmt: skip
    return {strategy.name: strategy for strategy in known}


def _words(option: str, given: str | Sequence[str]) -> tuple[str, ...]:
    words: tuple[Any, ...] = (given,) if isinstance(given, str) else tuple(given)
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise ConfigurationError(f"by_label: {option}= takes labels, which are words, not {word!r:.100}")
        if words.count(word) > 1:
            raise ConfigurationError(f"by_label: {option}= names {word!r} twice")
    return words


def _inner(strategy: str | NamedStrategy | PlacementStrategy | Choose) -> PlacementStrategy:
    if not isinstance(strategy, str):
        return as_strategy(strategy)
    known = builtin_strategies()
    if strategy not in known or strategy == "stateless_worker":
        names = ", ".join(sorted(known.keys() - {"stateless_worker"}))
        raise ConfigurationError(f"by_label: there is no placement {strategy!r}; known are {names}")
    return known[strategy]
