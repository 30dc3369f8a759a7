"""The management of a cluster for programs: `client.management`, or `silo.cluster_management` in a silo.

It asks the system targets of the silos, as the command line and the dashboard do, with the role of the client's token;
a silo is an admin. Acts are previewed, then done where the preview still holds, and each is in the audit of its silo.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from grange.errors import (
    CallError,
    CallNotExecuted,
    CallOutcomeUnknown,
    HandshakeRefused,
    NoSuchGrain,
    RemoteError,
    SiloUnavailable,
    Unauthorized,
)
from grange.grains.definition import Addressable, spec_of
from grange.grains.options import is_number
from grange.grains.ref import grain_id_of
from grange.membership.model.member import Member, SiloStatus, View
from grange.placement.versions import VersionRules
from grange.proto.acts import ACT, Act, Acted, Action, Outcome
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.inspection import DETAIL, FIND, ActivationDetail, FindActivations, FoundActivations
from grange.proto.management import STATUS, VIEW, SiloState, encode

A = TypeVar("A")

AskMember = Callable[[Member, str, bytes, float], Awaitable[bytes]]
"""Asks a system target of this silo; the last argument is the time-out in seconds."""

ASK_TIMEOUT = 5.0
"""Seconds for the answer of one silo."""

MOST_HOSTS = 3
"""Silos that are asked one after the other until one answers."""

Grains = type[Addressable] | str
"""A grain class, or the name of a grain type."""


class Counts(msgspec.Struct, frozen=True):
    """The activations of a cluster. `missing` has the silos that gave no answer, with the reason.

    `by_silo`: the name of a silo to its activations by grain type.
    """

    by_silo: Mapping[str, Mapping[str, int]]
    missing: Mapping[str, str]

    @property
    def by_type(self) -> dict[str, int]:
        """The activations of each grain type on all silos that answered."""
        totals: dict[str, int] = {}
        for counts in self.by_silo.values():
            for name, count in counts.items():
                totals[name] = totals.get(name, 0) + count
        return dict(sorted(totals.items()))


class Report(msgspec.Struct, frozen=True):
    """The outcome of an act on each silo that it was about, by the silo's name."""

    outcomes: Mapping[str, Acted]

    @property
    def count(self) -> int:
        """How many things were done on all silos together."""
        return sum(each.count for each in self.outcomes.values() if each.outcome is Outcome.DONE)

    @property
    def complete(self) -> bool:
        """Whether it was done on every silo that it was about, and there was at least one."""
        return bool(self.outcomes) and all(each.outcome is Outcome.DONE for each in self.outcomes.values())


class ClusterManagement:
    """Inspects and steers one cluster. Its methods raise Unauthorized (certainly not done) if the role lacks.

    `newest` is the view to find silos by; `actor` names the program in the audit.
    """

    def __init__(self, ask: AskMember, newest: Callable[[], View], actor: str) -> None:
        self._ask = ask
        self._newest = newest
        self._actor = actor

    # --- what there is --------------------------------------------------------------------------------------------

    async def silos(self, *, dead: bool = False) -> tuple[Member, ...]:
        """The active, joining and leaving silos as the membership table has them now, with `dead` those, too.

        Raises SiloUnavailable if no silo answers.
        """
        error: Exception = NoSuchGrain("the cluster has no active silo")
        for member in self._asked():
            try:
                answer = await self._ask(member, VIEW, b"", ASK_TIMEOUT)
                view = msgspec.msgpack.decode(answer, type=View)
            except Unauthorized:
                raise
            except (CallError, HandshakeRefused, msgspec.DecodeError) as failure:
                error = failure
                continue
            return tuple(each for each in view.members if dead or each.status is not SiloStatus.DEAD)
        raise error

    async def counts(self) -> Counts:
        """The activations by silo and grain type."""
        given, missing = await self._ask_each(STATUS, b"", SiloState)
        return Counts({name: dict(state.activations) for name, state in given}, missing)

    async def activations(
        self, grains: Grains, *, prefix: str = "", min_idle: float = 0.0, page: int = 100
    ) -> AsyncGenerator[FoundActivations]:
        """The activations of one grain type, `page` (at most 200) at a time, of one silo after the other.

        An activation that stays is on exactly one page. Raises the error of a silo that gives no answer.
        """
        for member in self._asked():
            question = FindActivations(_type_of(grains), prefix, min_idle=min_idle, limit=page)
            while True:
                answer = await self._ask(member, FIND, encode(question), ASK_TIMEOUT)
                found = msgspec.msgpack.decode(answer, type=FoundActivations)
                if found.rows:
                    yield found
                if not found.cursor:
                    break
                question = msgspec.structs.replace(question, cursor=found.cursor)

    async def activation(self, grain: Addressable | GrainId) -> ActivationDetail | None:
        """The activation of a grain in detail; None: no silo that answered has one."""
        question = msgspec.msgpack.encode(_id_of(grain))
        given, _ = await self._ask_each(DETAIL, question, ActivationDetail | None)
        return next((detail for _, detail in given if detail is not None), None)

    # --- what is done ---------------------------------------------------------------------------------------------

    async def deactivate(self, grain: Addressable | GrainId | Grains, *, reason: str) -> Report:
        """End the activation of a grain, or all of a class, after their requests. `reason` is for the audit."""
        target = _type_of(grain) if isinstance(grain, str | type) else str(_id_of(grain))
        return await self.act(Act(Action.DEACTIVATE, target, reason=reason))

    async def collect(self, *, idle: float, reason: str) -> Report:
        """End all activations that have been idle for so many seconds; 0: all without a request. Raises ValueError."""
        if not (is_number(idle) and idle >= 0):
            raise ValueError(f"idle= is a number of seconds, 0 or more, not {idle!r:.100}; 0 means all that are idle")
        return await self.act(Act(Action.COLLECT, values=_values(idle=idle), reason=reason))

    async def move(self, grain: Addressable | GrainId, to: SiloAddress | str = "", *, reason: str) -> Report:
        """Move the activation of a grain to this silo, by address or name; "": where its placement chooses."""
        return await self.act(Act(Action.MOVE, str(_id_of(grain)), _values(to=str(to)), reason=reason))

    async def set_version_rules(self, interface: Grains, rules: VersionRules | None, *, reason: str) -> Report:
        """Set the rules of an interface, or the default (""), on every silo, until the silos end. None: as configured.

        `interface` is its class or its name. They count from the next call on. Put them into the configuration, too,
        for silos that start later.
        """
        values = _values(rules=rules)
        return await self.act(Act(Action.VERSION_RULES, _type_of(interface), values=values, reason=reason))

    async def act(self, act: Act, silos: Sequence[SiloAddress] = ()) -> Report:
        """Do any act on these silos, or on all: preview it, then do it where there is something to do."""
        members = [each for each in self._asked() if not silos or each.address in silos]
        previews = await asyncio.gather(*(self._acted(each, _with(act, preview=True)) for each in members))
        chosen = [
            (member, preview)
            for member, preview in zip(members, previews, strict=True)
            if preview.outcome is not Outcome.PREVIEWED or preview.count
        ]
        useful = [each for each in chosen if each[1].outcome is Outcome.PREVIEWED]
        done = await asyncio.gather(*(self._acted(member, _with(act, expect=seen.expect)) for member, seen in useful))
        outcomes = {_name(member): acted for (member, _), acted in zip(useful, done, strict=True)}
        if not outcomes:  # nothing to do anywhere: tell why
            outcomes = {_name(member): acted for member, acted in chosen}
        return Report(outcomes)

    # --------------------------------------------------------------------------------------------------------------

    def _asked(self) -> list[Member]:
        """The silos that may answer."""
        return list(self._newest().with_status(SiloStatus.ACTIVE, SiloStatus.LEAVING))

    async def _ask_each(self, target: str, question: bytes, kind: Any) -> tuple[list[tuple[str, Any]], dict[str, str]]:
        """The answers by the names of the silos, and the silos that gave none with the reason."""

        async def one(member: Member) -> Any:
            try:
                return msgspec.msgpack.decode(await self._ask(member, target, question, ASK_TIMEOUT), type=kind)
            except Unauthorized:
                raise
            except (CallError, HandshakeRefused, msgspec.DecodeError) as error:
                return error

        members = self._asked()
        found = await asyncio.gather(*map(one, members))
        pairs = [(_name(member), each) for member, each in zip(members, found, strict=True)]
        missing = {name: str(each) for name, each in pairs if isinstance(each, Exception)}
        return [(name, each) for name, each in pairs if not isinstance(each, Exception)], missing

    async def _acted(self, member: Member, act: Act) -> Acted:
        try:
            answer = await self._ask(member, ACT, msgspec.msgpack.encode(_with(act, actor=self._actor)), ASK_TIMEOUT)
            return msgspec.msgpack.decode(answer, type=Acted)
        except Unauthorized:
            raise
        except (CallNotExecuted, HandshakeRefused) as error:
            return Acted(member.address, Outcome.REFUSED, str(error))
        except RemoteError as error:  # such as a silo of an older release, which does not know the act
            return Acted(member.address, Outcome.FAILED, str(error))
        except (CallError, msgspec.DecodeError) as error:
            return Acted(member.address, Outcome.UNKNOWN, str(error))


class TypeHosts:
    """Asks a silo that hosts a grain type (`grains.finding.AskHost`): `me` if it does, else any."""

    def __init__(
        self, ask: AskMember, newest: Callable[[], View], rng: random.Random, me: SiloAddress | None = None
    ) -> None:
        self._ask = ask
        self._newest = newest
        self._random = rng
        self._me = me

    async def __call__(self, grain_type: str, service: str, question: bytes) -> bytes:
        """The answer of the first silo that gives one, of at most three: such a question changes nothing.

        Raises NoSuchGrain if no active silo hosts the type, and the error of the last silo asked.
        """
        hosts = [each for each in self._newest().with_status(SiloStatus.ACTIVE) if grain_type in each.grains]
        self._random.shuffle(hosts)
        hosts.sort(key=lambda each: each.address != self._me)
        error: Exception = NoSuchGrain(f"no active silo hosts grain type {grain_type!r}")
        for member in hosts[:MOST_HOSTS]:
            try:
                return await self._ask(member, service, question, ASK_TIMEOUT)
            except (SiloUnavailable, NoSuchGrain, CallOutcomeUnknown) as failure:
                error = failure
        raise error


def _with(act: Act, **changes: Any) -> Act:
    return msgspec.structs.replace(act, **changes)


def _values(**values: Any) -> str:
    return msgspec.json.encode(values).decode()


def _name(member: Member) -> str:
    return member.name or member.address.endpoint


def _type_of(grains: Grains) -> str:
    return grains if isinstance(grains, str) else spec_of(grains).name


def _id_of(grain: Addressable | GrainId) -> GrainId:
    """The id of a grain, from it or from a reference. Raises TypeError for anything else."""
    return grain if isinstance(grain, GrainId) else grain_id_of(grain)
