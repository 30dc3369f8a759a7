"""A part of a turn whose calls may, or may not, come back into its grain: `allow_reentrancy`, `suppress_reentrancy`.

While it lasts it takes the turn's place in `grains.context.current_turn`.
"""

from __future__ import annotations

import random
from typing import Protocol

from grange.proto.chain import LINK, extended, section_link, without_sections
from grange.proto.ids import GrainId


class ScopedTurn(Protocol):
    """The turn that a scope is a part of: an `Invocation`.

    principal: the identity of its call, spoken: that of the calls that it makes; chain: the turns that wait for it,
    onward: that of the calls that it makes; sections: the links of the open ones.
    """

    grain_id: GrainId
    principal: bytes
    spoken: bytes
    chain: bytes
    onward: bytes
    sections: tuple[bytes, ...]

    @property
    def holder(self) -> object:
        """Its activation."""
        ...

    def speak(self) -> bytes:
        """Make `spoken`."""
        ...

    def extend(self, dice: random.Random) -> bytes:
        """Make `onward`."""
        ...


class Scope:
    """One part of a turn, until `close`. Its link is made with its first call: one without calls costs nothing.

    `allows`: its calls may come back; else they re-enter no turn at all, also none that allowed it further up.
    """

    __slots__ = ("_allows", "_base", "_is_open", "onward", "turn")

    def __init__(self, turn: ScopedTurn, base: bytes, allows: bool) -> None:
        self.turn = turn
        self.onward = b""
        self._base = base
        self._allows = allows
        self._is_open = True

    @property
    def grain_id(self) -> GrainId:
        """The grain whose turn it is a part of."""
        return self.turn.grain_id

    @property
    def principal(self) -> bytes:
        """The identity of the call whose turn it is a part of."""
        return self.turn.principal

    @property
    def spoken(self) -> bytes:
        """The identity of the calls of that turn; empty before the first one."""
        return self.turn.spoken

    def speak(self) -> bytes:
        """Make the identity of the calls of that turn."""
        return self.turn.speak()

    @property
    def holder(self) -> object:
        """The activation whose turn it is a part of."""
        return self.turn.holder

    def extend(self, dice: random.Random) -> bytes:
        """Make the chain of the calls of this scope."""
        if self._allows and self._is_open:
            link = section_link(dice.getrandbits(64))
            self.turn.sections = (*self.turn.sections, link)
        else:
            link = (self.turn.onward or self.turn.extend(dice))[-LINK:]
        self.onward = extended(self._base, link)
        return self.onward

    def scope(self, allows: bool) -> Scope:
        """A scope within this one. To allow again what is allowed opens no second section."""
        if allows and self._allows:
            return self
        return Scope(self.turn, self._base if allows else without_sections(self._base), allows)

    def close(self) -> None:
        """End it: its calls come back no more, also those that are on their way."""
        self._is_open = False
        if self.onward:
            link = self.onward[-LINK:]
            self.turn.sections = tuple(each for each in self.turn.sections if each != link)
