"""Members, votes and views: the values of membership, and the rules of status. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import datetime

import msgspec

from grange.proto.ids import SiloAddress

REVISION = "revision"
"""The word of the label that names a silo's revision of the application, such as `revision=7`."""

MOST_DIGITS = 19
"""Digits that a revision has not: it is a number below 10 to the 18th."""


class SiloStatus(enum.StrEnum):
    """The status of a silo: it only moves forward, and DEAD is final."""

    JOINING = "joining"
    ACTIVE = "active"
    LEAVING = "leaving"
    DEAD = "dead"

    @property
    def rank(self) -> int:
        """The order of statuses: a status may only be replaced by one of the same or a higher rank."""
        return list(SiloStatus).index(self)


class Vote(msgspec.Struct, frozen=True):
    """One silo's suspicion of another. `time`, by the voter's clock, is for people, and differs when it is renewed."""

    voter: SiloAddress
    time: datetime


class Written(msgspec.Struct, frozen=True):
    """The last write of a row: the silo that made it, the version of the table that it made, and why. For people."""

    by: SiloAddress
    version: int
    why: str


class Implementations(msgspec.Struct, frozen=True):
    """The grain types of one silo that implement one interface, and the one that is marked as the default."""

    types: tuple[str, ...]
    default: str | None = None


ROW_FORMAT = 3
"""The number of the fields of `Member` in this release; a new field raises it. A silo of an earlier release drops the
fields that it does not know when it passes a row on."""


class Member(msgspec.Struct, frozen=True):
    """One silo's row in the table.

    `gateway` is the port for clients (0: none), `probe` the port that answers probes (0: the silo port). `road` and
    `gateway_road` are the ports of the faster road for silos and for clients (0: none). `tls`, `gateway_tls` and
    `probe_tls` are the ports with TLS (0: none); each is the plain one if every port has TLS. `alive` is the last time
    at which the silo wrote that it lives: by its own clock, but rising with every write. `run` is random; it tells two
    processes apart that chose the same address. `cordoned`: no new grains are placed there, because an operator said
    so. `labels` are words chosen by the operator for placement, `grains` the grain types that it hosts with the names
    of their placements, `interfaces` the types that implement each interface, `versions` for each type the versions of
    its interfaces, without those that have none. `services` are the silo services that it runs. `written` is the last
    write of the row; None if an older version of grange made it. `process` is the process of the silo, for the others
    on its host (`detection/processes.py`); empty if its platform cannot tell, None if an older version of grange made
    the row. `hold` comes with a death by a crash: the seconds from then on for which the silo, if it lives after all,
    may start turns; None: the death has another cause, or an older version of grange wrote it.
    """

    address: SiloAddress
    status: SiloStatus
    started: datetime
    alive: datetime
    name: str = ""
    gateway: int = 0
    probe: int = 0
    road: int = 0
    gateway_road: int = 0
    tls: int = 0
    gateway_tls: int = 0
    probe_tls: int = 0
    votes: tuple[Vote, ...] = ()
    run: str = ""
    labels: tuple[str, ...] = ()
    grains: dict[str, str] = {}
    interfaces: dict[str, Implementations] = {}
    versions: dict[str, dict[str, int]] = {}
    services: tuple[str, ...] = ()
    cordoned: bool = False
    written: Written | None = None
    process: str | None = None
    hold: float | None = None

    @property
    def revision(self) -> int:
        """The revision of the application that the silo runs: its label `revision=n`; 0 without one."""
        for label in self.labels:
            word, _, number = label.partition("=")
            if word == REVISION and number.isdecimal() and len(number) < MOST_DIGITS:
                return int(number)
        return 0

    @property
    def voted_dead(self) -> bool:
        """Whether other silos declared it dead; it may then not have read of its death yet, and still run turns.

        A silo that stopped in order, or was replaced by a newer generation at its endpoint, has no votes. If it has old
        votes, this answers True, which is the safe side.
        """
        return self.status is SiloStatus.DEAD and bool(self.votes)


def moved(member: Member, status: SiloStatus) -> Member:
    """The member with its next status. Raises ValueError for a lower rank, which would revive a dead silo."""
    if status.rank < member.status.rank:
        raise ValueError(f"silo {member.address} is {member.status} and cannot become {status} again")
    return msgspec.structs.replace(member, status=status)


class View(msgspec.Struct, frozen=True):
    """The cluster as of one table version. Views are totally ordered by `version`."""

    version: int
    members: tuple[Member, ...] = ()

    def get(self, address: SiloAddress) -> Member | None:
        """The member at exactly this address, generation included."""
        return next((member for member in self.members if member.address == address), None)

    def with_status(self, *statuses: SiloStatus) -> tuple[Member, ...]:
        """Members with any of these statuses, ordered by address."""
        return tuple(member for member in self.members if member.status in statuses)

    @property
    def active(self) -> tuple[Member, ...]:
        """Members that may host grains."""
        return self.with_status(SiloStatus.ACTIVE)

    @property
    def gateways(self) -> tuple[Member, ...]:
        """Active members that clients may connect to."""
        return tuple(member for member in self.active if member.gateway)

    def implementations(self, interface: str) -> Implementations:
        """The implementations of an interface in all active silos together; the default only if all agree on one."""
        declared = [member.interfaces[interface] for member in self.active if interface in member.interfaces]
        types = sorted({name for each in declared for name in each.types})
        defaults = {each.default for each in declared if each.default is not None}
        return Implementations(tuple(types), defaults.pop() if len(defaults) == 1 else None)

    def is_dead(self, address: SiloAddress) -> bool:
        """Whether this generation is certainly gone: its row is DEAD, or a newer generation has its endpoint."""
        for member in self.members:
            other = member.address
            if other.host == address.host and other.port == address.port:
                newer = other.generation > address.generation
                if newer or (other == address and member.status is SiloStatus.DEAD):
                    return True
        return False


def make_view(version: int, members: Iterable[Member]) -> View:
    """A view with its members ordered by address, as on every silo."""
    return View(version, tuple(sorted(members, key=lambda member: member.address)))


def just_voted_dead(before: View, after: View) -> tuple[SiloAddress, ...]:
    """The silos that lived in `before` and are dead by votes in `after`, not by their stop or replacement."""
    voted = (member.address for member in after.with_status(SiloStatus.DEAD) if member.votes)
    living = {member.address for member in before.members if member.status is not SiloStatus.DEAD}
    return tuple(address for address in voted if address in living)
