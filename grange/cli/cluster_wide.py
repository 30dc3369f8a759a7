"""One question to some silos of a cluster: the answers, and lines about the silos that gave none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec

from grange.cli.drain import member_named
from grange.client.client import Client
from grange.client.questions import Answer, Question, ask_each, ask_one, asking, check_role
from grange.errors import NoSuchGrain
from grange.membership.model.member import Member, SiloStatus, View

A = TypeVar("A")


class Answers(msgspec.Struct, Generic[A], frozen=True):
    """The answers of all silos that were asked."""

    every: tuple[Answer[A], ...]

    @property
    def given(self) -> list[tuple[Member, A]]:
        """The silos that answered, with their answers."""
        return [(each.member, each.answer) for each in self.every if each.answer is not None]

    def notes(self) -> list[str]:
        """A line for each silo that did not answer."""
        return [f"{name_of(each.member)}: {each.lack}" for each in self.every if each.error is not None]

    def problem_facts(self) -> list[dict[str, str]]:
        """The same for programs."""
        failed = [each for each in self.every if each.error is not None]
        return [{"silo": str(each.member.address), "problem": each.problem} for each in failed]


def name_of(member: Member) -> str:
    """The name of a silo for people."""
    return member.name or member.address.endpoint


def chosen(view: View, silo: str) -> list[Member]:
    """The silo of this name, or all that are active or leaving. Raises ConfigurationError for a name that fits none."""
    if silo:
        return [member_named(view, silo)]
    return [each for each in view.with_status(SiloStatus.ACTIVE, SiloStatus.LEAVING) if each.gateway]


def hosts_of(view: View, grain_type: str) -> list[Member]:
    """The silos that host this grain type. Raises NoSuchGrain, with the types that there are."""
    hosts = [member for member in chosen(view, "") if grain_type in member.grains]
    if not hosts:
        known = sorted({name for member in view.active for name in member.grains})
        raise NoSuchGrain(f"no silo hosts {grain_type!r}; the types are: {', '.join(known) or 'none'}")
    return hosts


async def ask_silos(client: Client, members: Iterable[Member], question: Question[A]) -> Answers[A]:
    """Ask these silos. Raises Unauthorized if all of them refuse the role of the client."""
    answers = await ask_each(asking(client), members, question)
    check_role(answers)
    return Answers(tuple(answers))


async def ask_first(client: Client, members: Iterable[Member], question: Question[A]) -> A:
    """The answer of the first of these silos that has one. Raises the error of the last, or NoSuchGrain for none."""
    error: Exception = NoSuchGrain("no silo of the cluster can answer this")
    for member in members:
        found = await ask_one(asking(client), member, question)
        if found.answer is not None:
            return found.answer
        error = found.error or error
    raise error


def activations_by_type(counted: Iterable[tuple[Member, dict[str, int] | None]]) -> dict[str, dict[str, int]]:
    """Grain type to activations per silo name, from the counts of each silo; None: it did not answer.

    A hosted type without activations maps to an empty dictionary.
    """
    counts: dict[str, dict[str, int]] = {}
    for member, activations in counted:
        for name in member.grains:
            counts.setdefault(name, {})
        for name, count in (activations or {}).items():
            counts.setdefault(name, {})[name_of(member)] = count
    return dict(sorted(counts.items()))
