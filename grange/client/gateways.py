"""Which silo should a client's call go to? The one that probably hosts the grain, so that a call is one hop.

A client sees the cluster as its gateways show it. It addresses silos by their gateway ports; a gateway carries on what
its silo does not host, so any one of them is enough.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from grange.client.contacts import Contacts
from grange.client.events import ConnectionEvent, Listeners
from grange.client.options import ClientOptions
from grange.errors import CallError, ConfigurationError, HandshakeRefused, SiloUnavailable
from grange.membership.model.hash_ring import Ring
from grange.membership.model.member import Implementations, Member, SiloStatus, View
from grange.proto.ids import GrainId, SiloAddress
from grange.runtime.system_target import Ask

log = logging.getLogger("grange.client")

SILENCE = 3.0
"""Seconds that a client looks for a gateway before it says so: a person at a terminal wonders by then."""

VIEW_SERVICE = "management.view"
_VIEW = msgspec.msgpack.Decoder(View)

ASK_TIMEOUT = 2.0
"""Seconds for one question about the cluster."""


BREATH = 0.05
"""Seconds between two looks at least: however many calls fail at once, ask at most so often."""

SEARCH_PAUSE = 0.25
"""Seconds between two looks while no gateway answers: calls wait for the first one."""


def parse_gateway(text: str) -> SiloAddress:
    """`host:port` of a gateway. Raises ConfigurationError for anything else."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise ConfigurationError(f"not a gateway: {text!r}; write host:port, such as 127.0.0.1:30000")
    return SiloAddress(host.strip("[]"), int(port), 0)


class Gateways:
    """runtime.locator.Locator of a client. All addresses it gives out are gateways."""

    def __init__(
        self,
        known: Sequence[str],
        options: ClientOptions,
        rng: random.Random,
        gone: Callable[[SiloAddress], None] = lambda _: None,
        listeners: Listeners | None = None,
    ) -> None:
        if not known:
            raise ConfigurationError("a client needs at least one gateway: Client(['127.0.0.1:30000'])")
        self._seeds = [parse_gateway(text) for text in known]
        self._options = options
        self._random = rng
        self._gone = gone  # told of each gateway whose silo is dead, so that nothing is kept of it
        self._listeners = listeners or Listeners()
        self._contacts = Contacts()
        self._closed = False
        self._living: frozenset[SiloAddress] = frozenset()
        self._avoided: dict[SiloAddress, float] = {}
        self._loop = asyncio.get_running_loop()
        self._wanted = asyncio.Event()
        self._changed = asyncio.Event()
        self.view = View(0)
        self._gateways: dict[SiloAddress, SiloAddress] = {}
        self._ring = Ring(())

    # --- runtime.locator.Locator ----------------------------------------------------------------------------------

    def known(self, grain_id: GrainId) -> SiloAddress | None:
        """The gateway of the silo that owns the grain's place on the ring, among those that work."""
        usable = self._usable()
        owner = self._ring.owner(grain_id.ring_hash, usable)
        return usable[owner] if owner is not None else self._random.choice(self._seeds)

    async def locate(self, grain_id: GrainId) -> SiloAddress:
        """There is always somebody to try."""
        return self.known(grain_id) or self._seeds[0]

    def invalidate(self, grain_id: GrainId, silo: SiloAddress, hint: SiloAddress | None, absent: bool = False) -> None:
        """A gateway that could not be reached or takes no calls is not used for a while; look who is there."""
        if not absent:
            return  # it will find the grain at the next try
        self._avoid(silo, "it could not be reached, or takes no calls")

    def disconnected(self, gateway: SiloAddress, error: Exception | None) -> None:
        """The connection to a gateway has ended: use another one, and look who is there. Told by the sender's link."""
        if not gateway.generation and error is not None:  # one of the seeds, before it was known which silo is there
            gateway = next((each for each in self._gateways.values() if each.endpoint == gateway.endpoint), gateway)
        self._avoid(gateway, str(error or "it closed the connection"))

    async def changed(self, seconds: float) -> None:
        """Wait for a newer view, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def wait_for(self, active: set[SiloAddress]) -> None:
        """Look again and again until exactly these silos are active."""
        while {member.address for member in self.view.active} != active:
            self._wanted.set()
            await self.changed(0.1)

    def implementations(self, interface: str) -> Implementations:
        """Which grain types fulfil an interface, in the whole cluster."""
        return self.view.implementations(interface)

    @property
    def cut_off(self) -> bool:
        """Whether no gateway answered when they were last asked."""
        return self._contacts.cut_off

    def all(self) -> tuple[SiloAddress, ...]:
        """The gateways of all active silos."""
        return tuple(self._gateways.values())

    # --- keeping up with the cluster ------------------------------------------------------------------------------

    async def find(self, ask: Ask) -> None:
        """Reach one gateway and learn the others. Raises SiloUnavailable naming all that were tried, and why not.

        A refused handshake is an answer, not a silence: it is raised at once, unless the silo is still starting.
        """
        began = self._loop.time()
        deadline = began + self._options.connect_timeout
        told = False
        while True:
            failures = [failure for seed in self._seeds if (failure := await self._try(ask, seed)) is not None]
            if len(failures) < len(self._seeds):
                return
            for failure in failures:
                cause = failure.__cause__ if isinstance(failure.__cause__, HandshakeRefused) else failure
                if isinstance(cause, HandshakeRefused) and cause.code not in ("starting", "leaving"):
                    raise cause
            tried = "; ".join(str(failure.__cause__ or failure) for failure in failures)
            now = self._loop.time()
            if now >= deadline:
                raise SiloUnavailable(f"no gateway could be reached: {tried}. Is a silo running there?")
            if now - began >= SILENCE and not told:
                told = True
                log.warning("no gateway answers yet: %s; trying for %.0f s more", tried, deadline - now)
            await asyncio.sleep(0.2 * self._random.uniform(0.5, 1.0))

    async def keep_up(self, ask: Ask) -> None:
        """For the life of the client: read the view again once per period, and at once when a gateway fails."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.refresh_period):
                    await self._wanted.wait()
            self._wanted.clear()
            if await self._look(ask):
                await asyncio.sleep(BREATH)
            else:
                await asyncio.sleep(SEARCH_PAUSE)
                self._wanted.set()

    async def _look(self, ask: Ask) -> bool:
        """Ask one gateway, and if it does not answer all others at once; also those that were lost: are they back?"""
        candidates = [*self._usable().values(), *self._seeds]
        self._random.shuffle(candidates)
        first, *others = dict.fromkeys(candidates)
        failures = {first: failure} if (failure := await self._try(ask, first)) is not None else {}
        rest = [each for each in (others if failures else self._contacts.missed) if each != first]
        for gateway, failed in zip(rest, await asyncio.gather(*(self._try(ask, each) for each in rest)), strict=True):
            if failed is not None:
                failures[gateway] = failed
        if len(failures) <= len(rest):
            return True
        news = self._contacts.nobody_answers({gateway: str(failure) for gateway, failure in failures.items()})
        if news:
            log.warning("no gateway answers, the client goes on looking: %s", news[0], extra={"event": "no_gateway"})
        self._tell(news)
        return False

    def close(self) -> None:
        """The client ends its connections itself now: that is no news."""
        self._closed = True

    def _avoid(self, gateway: SiloAddress, reason: str) -> None:
        self._avoided[gateway] = self._loop.time() + self._options.avoid_for
        self._tell(self._contacts.failed(gateway, reason))
        self._wanted.set()

    def _tell(self, events: Sequence[ConnectionEvent]) -> None:
        for event in () if self._closed else events:
            self._listeners.tell(event)

    async def _try(self, ask: Ask, gateway: SiloAddress) -> Exception | None:
        """Ask one gateway for the view; returns why that failed."""
        try:
            self._learn(_VIEW.decode(await ask(gateway, VIEW_SERVICE, b"", ASK_TIMEOUT)))
        except (CallError, HandshakeRefused, msgspec.DecodeError) as error:
            self._avoided[gateway] = self._loop.time() + self._options.avoid_for
            self._tell(self._contacts.failed(gateway, str(error)))
            return error
        self._avoided.pop(gateway, None)
        self._tell(self._contacts.answered(gateway))
        return None

    def _learn(self, view: View) -> None:
        if view.version == self.view.version and self.view.members:
            return
        if view.version < self.view.version and any(self.view.get(member.address) for member in view.members):
            return  # a silo is behind: what it does not know of yet must not be given up
        # A lower version with none of these silos is news: the cluster and its table were made anew.
        self.view = view
        self._gateways = {member.address: _gateway(member) for member in view.active if member.gateway}
        self._tell(self._contacts.listed(self._gateways.values()))
        # A silo that leaves still answers; only of a dead one nothing can come any more.
        living = frozenset(_gateway(member) for member in view.members if member.status is not SiloStatus.DEAD)
        for gateway in self._living - living:
            self._gone(gateway)
        self._living = living
        self._ring = Ring(member.address for member in view.active)
        self._changed.set()
        self._changed = asyncio.Event()

    def _usable(self) -> dict[SiloAddress, SiloAddress]:
        """Silo to gateway, without those that failed lately; all of them if none is left."""
        if not self._avoided:
            return self._gateways
        now = self._loop.time()
        self._avoided = {gateway: until for gateway, until in self._avoided.items() if until > now}
        usable = {silo: gateway for silo, gateway in self._gateways.items() if gateway not in self._avoided}
        return usable or self._gateways


def _gateway(member: Member) -> SiloAddress:
    """How a client addresses a silo: by its gateway's port."""
    return SiloAddress(member.address.host, member.gateway, member.address.generation)
