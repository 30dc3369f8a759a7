"""One act of operators: what it finds and what it does, and the errors and values that all acts share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from grange.membership.model.member import Member
from grange.proto.acts import Act, Level
from grange.proto.ids import SiloAddress

V = TypeVar("V", bound=msgspec.Struct)


class NotDone(Exception):
    """The act is refused: certainly nothing was done."""


class Found(msgspec.Struct, frozen=True):
    """What an act would meet: a sentence, how many things, and what must still hold when it is done.

    `at_most`: `expect` is a number, and it holds as long as there are not more.
    """

    text: str
    count: int = 1
    expect: str = ""
    at_most: bool = False

    def holds(self, expect: str) -> bool:
        """Whether what was expected still holds."""
        if self.at_most:
            return expect.isdecimal() and len(expect) < 20 and self.count <= int(expect)
        return expect == self.expect


class Done(msgspec.Struct, frozen=True):
    """The result of an act: a sentence, how many things it was about, and a result as JSON.

    `audited` takes the place of the sentence in the audit, if that may show an argument; empty: it does not.
    """

    text: str
    count: int = 0
    result: str = ""
    audited: str = ""


class Operation(msgspec.Struct, frozen=True):
    """One action: the role that it needs, and whether it ends something and so needs a reason."""

    level: Level
    ends: bool
    find: Callable[[Act], Found]
    do: Callable[[Act], Awaitable[Done]]


def names_of(member: Member) -> tuple[str, ...]:
    """The names by which an operator may call a silo: its name, endpoint and address."""
    address: SiloAddress = member.address
    return (member.name or address.endpoint), address.endpoint, str(address)


def values_of(act: Act, kind: type[V]) -> V:
    """The values of an act. Raises NotDone if they do not fit."""
    try:
        return msgspec.json.decode(act.values or "{}", type=kind)
    except msgspec.MsgspecError as error:
        raise NotDone(f"the values of {act.action!s} do not fit: {error}") from None
    except RecursionError:
        raise NotDone(f"the values of {act.action!s} are nested too deeply") from None
