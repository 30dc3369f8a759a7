"""What is measured, who takes part, and what grange aims at. Every other file reads it from here. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Setting(enum.Enum):
    """The processes a figure needs. Figures of one setting share them within a round."""

    WIRE = "a server process and a client process"
    ALONE = "one process"
    FRESH = "one process in which nothing else was measured"
    STATE = "a server process, a client process and a Postgres server"


@dataclass(frozen=True)
class Figure:
    """One number per contestant and round. `more` says whether more of it is better."""

    name: str
    title: str
    unit: str
    more: bool
    setting: Setting


@dataclass(frozen=True)
class Contestant:
    """Who is measured. `module` is its file in `contestants/`.

    `requirement` names the hash-pinned file in `requirements/` for an environment of its own; without one it
    runs in grange's. `oldest` is the first Python it runs on. `ask` means that a run must name it;
    `serves` that figures between two processes can be taken of it.
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
        """True for somebody else's package."""
        return self.requirement is not None


@dataclass(frozen=True)
class Target:
    """What grange aims at (design, section 12): its figure divided by that of `against`, or by nothing."""

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
    """Answer the figures named in a comma-separated list, or all. Raises ValueError for an unknown name."""
    if names is None:
        return list(FIGURES.values())
    wanted = _split(names)
    _refuse_unknown("figure", wanted, FIGURES)
    return [figure for figure in FIGURES.values() if figure.name in wanted]


def choose_contestants(peers: str | None) -> list[Contestant]:
    """Answer grange, its limits, and the peers named in a comma-separated list (`none` for no peer).

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
