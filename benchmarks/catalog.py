"""The figures, the contestants and grange's targets. Every other file reads them from here. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Setting(enum.Enum):
    """The processes a figure needs. Figures of one setting share them within a round."""

    WIRE = "a server process and a client process"
    CLIENTS = "a server process and two client processes"
    SILOS = "two server processes of one cluster"
    ALONE = "one process"
    FRESH = "one process that is used for nothing else"
    STATE = "a server process, a client process and a Postgres server"


@dataclass(frozen=True)
class Figure:
    """One load, which gives one sample per contestant and round. `more`: whether a higher value is better.

    `measure` names the loop in `contestants/load.py` that times it; `callers` call at once; `size` is the number of
    bytes of an argument (0: an integer). `group` is a name for several figures on the command line.
    """

    name: str
    title: str
    unit: str
    more: bool
    setting: Setting
    measure: str
    callers: int = 1
    size: int = 0

    @property
    def group(self) -> str:
        """The first word of the name: `throughput` of `throughput-100`."""
        return self.name.partition("-")[0]


@dataclass(frozen=True)
class Contestant:
    """One program that is measured. `module` is its file in `contestants/`, `arguments` follow its role.

    `requirement` names the hash-pinned file in `requirements/` for an environment of its own; without one it
    runs in grange's environment. `oldest` is the oldest Python that it supports. `ask`: a run must name it.
    `serves`: it can run figures between two processes. `needs` is a module of grange: a tree without it leaves
    the contestant out.
    """

    name: str
    module: str
    figures: frozenset[str]
    requirement: str | None = None
    oldest: tuple[int, int] = (3, 11)
    ask: bool = False
    serves: bool = True
    arguments: tuple[str, ...] = ()
    needs: str | None = None

    @property
    def peer(self) -> bool:
        """True for a package of another project."""
        return self.requirement is not None


BEST_PEER = "best peer"


@dataclass(frozen=True)
class Target:
    """A target of grange: one part of a figure's sample, divided by that of `against` if there is one.

    `part` is `value`, or a percentile of the time a call takes, in ms, where less is better. `subject` is the
    contestant that has the target. `against` may be BEST_PEER: in each round the package that does best.
    """

    figure: str
    against: str | None
    factor: float
    subject: str = "grange"
    part: str = "value"

    @property
    def more(self) -> bool:
        """Whether a higher measurement is better."""
        return self.part == "value" and FIGURES[self.figure].more


def _wire(name: str, title: str, callers: int, size: int = 0) -> Figure:
    return Figure(name, title, "calls/s", True, Setting.WIRE, "throughput", callers, size)


FIGURES = {
    figure.name: figure
    for figure in (
        _wire("throughput-1", "one caller that waits for each answer", 1),
        _wire("throughput-10", "10 callers, 10 grains", 10),
        _wire("throughput-100", "100 callers, 100 grains", 100),
        _wire("throughput-1000", "1,000 callers, 1,000 grains", 1000),
        _wire("size-32", "100 callers, arguments and results of 32 B", 100, 32),
        _wire("size-1k", "100 callers, arguments and results of 1 KB", 100, 1024),
        _wire("size-64k", "100 callers, arguments and results of 64 KB", 100, 65536),
        Figure("clients", "two clients at once, 50 callers each", "calls/s", True, Setting.CLIENTS, "throughput", 50),
        Figure("silos", "grain to grain: 100 calls at once", "calls/s", True, Setting.SILOS, "silos", 100),
        Figure("local", "local call: hot grain", "μs", False, Setting.ALONE, "local"),
        Figure("activation", "activation: first call on a key", "μs", False, Setting.ALONE, "activation"),
        Figure("memory", "memory: idle, empty activation", "bytes", False, Setting.FRESH, "memory"),
        Figure("state", "state: 100 grains, Postgres", "writes/s", True, Setting.STATE, "state", 100),
    )
}

_WIRE = frozenset(name for name, figure in FIGURES.items() if figure.setting is Setting.WIRE)
_REMOTE = _WIRE | {"clients"}
_LOCAL = frozenset({"local", "activation", "memory"})
_PACKED = "grange.proto.packed"
_TCP = "grange.transport.roads"

CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("grange", "grange_", _REMOTE | _LOCAL | {"silos", "state"}),
        Contestant("grange tcp", "grange_", _REMOTE | {"silos"}, arguments=("--road", "tcp"), needs=_TCP),
        Contestant("bare", "bare_stream", _REMOTE),
        Contestant("bare packed", "bare_stream", _REMOTE, arguments=("--frames", "packed"), needs=_PACKED),
        Contestant("bare socket", "bare_socket", _REMOTE, needs=_PACKED),
        Contestant("raw asyncpg", "raw_asyncpg", frozenset({"state"}), serves=False),
        Contestant("casty", "casty_", _REMOTE | _LOCAL, "casty", oldest=(3, 12)),
        Contestant("xoscar", "xoscar_", _REMOTE | _LOCAL, "xoscar"),
        Contestant("nigrains", "nigrains_", _LOCAL, "nigrains", serves=False),
        Contestant("ray", "ray_", frozenset({"throughput-1", "throughput-100"}), "ray", ask=True),
    )
}

TARGETS = (
    Target("throughput-100", "casty", 2.2),
    Target("throughput-100", "bare packed", 0.5),
    Target("throughput-100", "casty", 4.0, "grange tcp"),
    Target("throughput-100", "bare socket", 0.5, "grange tcp"),
    Target("throughput-10", "casty", 2.0),
    Target("throughput-10", "casty", 4.0, "grange tcp"),
    Target("throughput-1000", "casty", 2.0),
    Target("throughput-1000", "casty", 4.0, "grange tcp"),
    Target("throughput-1", "bare", 1.15, part="p50"),
    Target("throughput-1", BEST_PEER, 0.35, "grange tcp", part="p50"),
    Target("throughput-1", "bare socket", 1.4, "grange tcp", part="p50"),
    Target("local", "nigrains", 1.1),
    Target("activation", "nigrains", 3.0),
    Target("memory", "nigrains", 1.5),
    Target("state", "raw asyncpg", 0.8),
)


def choose_figures(names: str | None) -> list[Figure]:
    """Return the figures or groups named in a comma-separated list, or all. Raises ValueError for an unknown name."""
    if names is None:
        return list(FIGURES.values())
    wanted = _split(names)
    groups = dict.fromkeys(figure.group for figure in FIGURES.values())
    _refuse_unknown("figure", wanted, [*groups, *(name for name in FIGURES if name not in groups)])
    return [figure for figure in FIGURES.values() if wanted & {figure.name, figure.group}]


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
