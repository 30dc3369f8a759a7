"""Drain one silo from outside and watch it go: what `grange drain` does with a client's `ask`.

The silo to drain is asked at its own gateway port, so that any gateway is enough to find it. It is gone when another
gateway shows it dead; the last silo of a cluster is gone when nobody answers at its port any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from grange.cli.inspect import Ask, gateway_address
from grange.errors import CallError, ConfigurationError, ConnectionLost, GrangeError, HandshakeRefused, SiloUnavailable
from grange.membership.model.member import Member, SiloStatus, View
from grange.silo.management import VIEW
from grange.silo.shutdown import DRAIN, DrainQuestion, DrainState

ASK_SECONDS = 2.0
"""How long one question may take; a silo that drains is busy, but its loop runs."""

PERIOD = 0.2
"""Seconds between two looks at the silo."""

Report = Callable[[DrainState], None]
"""Told how far it is, at each look."""


def member_named(view: View, text: str) -> Member:
    """The silo that a person means: by name, by host:port (of either port), or by address. The newest run of it.

    Raises ConfigurationError, with a list of the silos, for a text that names none or several.
    """
    fitting = [member for member in view.members if text in _names(member)]
    living = [member for member in fitting if member.status is not SiloStatus.DEAD]
    chosen = living or sorted(fitting, key=lambda member: member.started)[-1:]
    if len(chosen) == 1:
        return chosen[0]
    known = [member for member in view.members if member.status is not SiloStatus.DEAD]
    listed = "; ".join(f"{member.name or member.address.endpoint} ({member.address})" for member in living or known)
    problem = f"{text!r} names {len(living)} silos" if living else f"no silo is named {text!r}"
    raise ConfigurationError(f"{problem}: {listed}. Name it by its name, host:port or address")


class DrainWatch:
    """One drain of one silo, seen from a client that knows it and, if there are any, other gateways."""

    def __init__(self, ask: Ask, view: View, member: Member) -> None:
        self._ask = ask
        self._view = view
        self._member = member
        self._gateway = gateway_address(member)
        self.state: DrainState | None = None

    async def begin(self) -> None:
        """Have it begin, or find that it has. Raises CallError or HandshakeRefused when it cannot be asked; one that
        is already saying goodbye is on its way, and nothing is left to ask for.
        """
        try:
            self.state = await self._asked(begin=True)
        except SiloUnavailable as error:
            if not _is_leaving(error) and not await self.gone():
                raise

    async def follow(self, report: Report) -> None:
        """Look again and again until it is gone."""
        while True:
            try:
                self.state = await self._asked(begin=False)
                report(self.state)
            except (CallError, HandshakeRefused):
                if await self.gone():
                    return
            await asyncio.sleep(PERIOD)

    async def gone(self) -> bool:
        """Whether the silo is over: by what another gateway shows, else by its closed port."""
        others = [gateway_address(each) for each in self._view.gateways if each.address != self._member.address]
        for gateway in others:
            try:
                view = msgspec.msgpack.decode(await self._ask(gateway, VIEW, b"", ASK_SECONDS), type=View)
            except (CallError, HandshakeRefused):
                continue
            return view.get(self._member.address) is None or view.is_dead(self._member.address)
        try:
            await self._asked(begin=False)
        except ConnectionLost:
            return False  # look again
        except SiloUnavailable as error:
            return not isinstance(error.__cause__, HandshakeRefused)
        except GrangeError:
            return False
        return False

    async def _asked(self, begin: bool) -> DrainState:
        question = msgspec.msgpack.encode(DrainQuestion(begin))
        return msgspec.msgpack.decode(await self._ask(self._gateway, DRAIN, question, ASK_SECONDS), type=DrainState)


def _names(member: Member) -> tuple[str, ...]:
    address = member.address
    return member.name, address.endpoint, str(address), f"{address.host}:{member.gateway}", str(gateway_address(member))


def _is_leaving(error: SiloUnavailable) -> bool:
    return isinstance(error.__cause__, HandshakeRefused) and error.__cause__.code == "leaving"
