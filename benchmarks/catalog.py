"""The figures, the contestants and grange's targets. Every other file reads them from here. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Setting(enum.Enum):
    """The processes a figure needs. Figures of one setting share them within a round."""

    WIRE = "a server process and a client process"
    ALONE = "one process"
    FRESH = "one process that is used for nothing else"
    STATE = "a server process, a client process and a Postgres server"


@dataclass(frozen=True)
class Figure:
    """One number per contestant and round. `more`: whether a higher value is better."""

    name: str
    title: str
    unit: str
    more: bool
    setting: Setting


@dataclass(frozen=True)
class Contestant:
    """One program that is measured. `module` is its file in `contestants/`.

    `requirement` names the hash-pinned file in `requirements/` for an environment of its own; without one it
    runs in grange's environment. `oldest` is the oldest Python that it supports. `ask`: a run must name it.
    `serves`: it can run figures between two processes.
    """

    name: str
    module: str
    figures: frozenset[str]
    requirement: str | None = None
    oldest: tuple[int, int] = (3, 11)
    ask: bool = False
    serves: bool = True

    @property
    def peer(self) -> bool:
        """True for a package of another project."""
        return self.requirement is not None


@dataclass(frozen=True)
class Target:
    """A target of grange (design, section 12): its figure, divided by the figure of `against` if there is one."""

    figure: str
    against: str | None
    factor: float


FIGURES = {
    figure.name: figure
    for figure in (
        Figure("throughput", "throughput: 100 callers, 100 grains", "calls/s", True, Setting.WIRE),
        Figure("latency", "latency: one caller, median", "ms", False, Setting.WIRE),
        Figure("local", "local call: hot grain", "μs", False, Setting.ALONE),
        Figure("activation", "activation: first call on a key", "μs", False, Setting.ALONE),
        Figure("memory", "memory: idle, empty activation", "bytes", False, Setting.FRESH),
        Figure("state", "state: 100 grains, Postgres", "writes/s", True, Setting.STATE),
    )
}

_WIRE = frozenset({"throughput", "latency"})
_LOCAL = frozenset({"local", "activation", "memory"})

CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("grange", "grange_", _WIRE | _LOCAL | {"state"}),
        Contestant("bare", "bare_stream", _WIRE),
        Contestant("raw asyncpg", "raw_asyncpg", frozenset({"state"}), serves=False),
        Contestant("casty", "casty_", _WIRE | _LOCAL, "casty", oldest=(3, 12)),
        Contestant("xoscar", "xoscar_", _WIRE | _LOCAL, "xoscar"),
        Contestant("nigrains", "nigrains_", _LOCAL, "nigrains", serves=False),
        Contestant("ray", "ray_", _WIRE, "ray", ask=True),
    )
}

TARGETS = (
    Target("throughput", "casty", 2.0),
    Target("throughput", "xoscar", 5.0),
    Target("throughput", "bare", 0.7),
    Target("latency", "bare", 1.2),
    Target("local", "nigrains", 1.0),
    Target("activation", "nigrains", 2.0),
    Target("memory", None, 1536),
    Target("state", "raw asyncpg", 0.7),
)


def choose_figures(names: str | None) -> list[Figure]:
    """Return the figures named in a comma-separated list, or all. Raises ValueError for an unknown name."""
    if names is None:
        return list(FIGURES.values())
    wanted = _split(names)
    _refuse_unknown("figure", wanted, FIGURES)
    return [figure for figure in FIGURES.values() if figure.name in wanted]


def choose_contestants(peers: str | None) -> list[Contestant]:
    """Return grange, its limits, and the peers named in a comma-separated list (`none` for no peer).

    Raises ValueError for a name that is no peer.
    """
    known = {name: contestant for name, contestant in CONTESTANTS.items() if contestant.peer}
    usual = {name for name, peer in known.items() if not peer.ask}
    wanted = usual if peers is None else _split(peers) - {"none"}
    _refuse_unknown("peer", wanted, known)
    return [one for one in CONTESTANTS.values() if not one.peer or one.name in wanted]


def _split(names: str) -> set[str]:
    return {name.strip() for name in names.split(",") if name.strip()}


def _refuse_unknown(kind: str, wanted: Iterable[str], known: Iterable[str]) -> None:
    if unknown := sorted(set(wanted) - set(known)):
        raise ValueError(f"no {kind} is called {', '.join(unknown)}; there is {', '.join(known)}")
