"""Chooses the gateway for each call of a client: the silo that probably hosts the grain, so that a call is one hop.

A client knows the cluster only by the views that its gateways send. It addresses silos by their gateway ports. A
gateway forwards calls to grains that its silo does not host, so any one gateway is enough.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from grange.aio.backoff import Backoff
from grange.aio.signal import Signal
from grange.client.contacts import Contacts
from grange.client.events import ConnectionEvent, Listeners
from grange.client.options import ClientOptions
from grange.client.waiting_reads import READERS, WaitingReads
from grange.databases.urls import scheme_of, shown_url
from grange.errors import CallError, ConfigurationError, HandshakeRefused, Overloaded, SiloUnavailable
from grange.grains.context import Scalar
from grange.membership.model.hash_ring import Ring
from grange.membership.model.member import Implementations, Member, SiloStatus, View
from grange.proto.ids import GrainId, SiloAddress, split_endpoint
from grange.proto.management import VIEW, ViewQuestion, encode
from grange.runtime.locator import Moved
from grange.runtime.system_target import Ask

log = logging.getLogger("grange.client")

MAY_CHANGE = ("starting", "leaving", "too-many")
"""Codes of refusals after which a client that starts tries again."""

WARN_AFTER = 3.0
"""Seconds of searching for a first gateway before a warning, which shows a person at a terminal why nothing happens."""

_VIEW = msgspec.msgpack.Decoder(View)

ASK_TIMEOUT = 2.0
"""Seconds until a request for the view times out, beyond those for which the silo may wait."""

MIN_REFRESH_INTERVAL = 0.05
"""Least seconds between two reads of the view, however many calls fail at once."""

CONNECT_RETRY_FIRST, CONNECT_RETRY_LIMIT = 0.1, 0.2
"""Seconds between two attempts to reach a first gateway."""

SEARCH_RETRY_FIRST, SEARCH_RETRY_LIMIT = 0.1, 0.25
"""Seconds between two searches while no gateway answers. Calls wait for the first answer, so the pauses are short."""


_HOST_NAME = re.compile(r"[\w.-]+")
"""What a host consists of, unless it is an IPv6 address. Letters include those of internationalised names."""


def parse_gateway(text: str) -> SiloAddress:
    """Parse `host:port` of a gateway; an IPv6 address has brackets. Raises ConfigurationError for any other text."""
    host, port = split_endpoint(text) or ("", 0)
    if 0 < port < 65536 and (_HOST_NAME.fullmatch(host) or _is_ipv6(host)):
        return SiloAddress(host, port, 0)
    form = "host:port, such as 127.0.0.1:30000 or [::1]:30000"
    if scheme_of(text) is not None:
        raise ConfigurationError(
            f"not a gateway: {shown_url(text)!r}; a gateway has no scheme and no path: write {form}"
        )
    raise ConfigurationError(f"not a gateway: {text!r}; write {form}")


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


class Gateways:
    """The `runtime.locator.Locator` of a client. All addresses that it returns are those of gateways."""

    def __init__(
        self,
        known: Sequence[str],
        options: ClientOptions,
        rng: random.Random,
        on_gateway_dead: Callable[[SiloAddress], None] = lambda _: None,
        listeners: Listeners | None = None,
        learn: Callable[[View], None] = lambda _: None,
    ) -> None:
        if not known:
            raise ConfigurationError("a client needs at least one gateway: Client(['127.0.0.1:30000'])")
        self._seeds = [parse_gateway(text) for text in known]
        self._options = options
        self._random = rng
        self._on_gateway_dead = on_gateway_dead  # drops the connections to a gateway whose silo is dead
        self._listeners = listeners or Listeners()
        self._learn = learn  # tells the network the ports of each new view
        self._contacts = Contacts()
        self._closed = False
        self._not_dead: frozenset[SiloAddress] = frozenset()
        self._avoided: dict[SiloAddress, float] = {}
        self._loop = asyncio.get_running_loop()
        self._refresh_wanted = asyncio.Event()
        self._changed = Signal()
        self.view = View(0)
        self._gateways: dict[SiloAddress, SiloAddress] = {}
        self._ring = Ring(())
        self._moved: Moved = _ignore
        self._home: GrainId | None = None
        self._waiting_reads = WaitingReads(options.refresh_period, rng, self._free)

    # --- runtime.locator.Locator ----------------------------------------------------------------------------------

    def known(self, grain_id: GrainId, wanted: int = 0) -> SiloAddress | None:
        """The gateway of the grain's owner on the ring, among the gateways that work; it knows the versions."""
        usable = self._usable()
        owner = self._ring.owner(grain_id.ring_hash, usable)
        return usable[owner] if owner is not None else self._random.choice(self._seeds)

    async def locate(
        self, grain_id: GrainId, context: Mapping[str, Scalar] | None = None, wanted: int = 0
    ) -> SiloAddress:
        """The same as `known`: a client always has a gateway to try."""
        return self.known(grain_id) or self._seeds[0]

    def invalidate(self, grain_id: GrainId, silo: SiloAddress, hint: SiloAddress | None, absent: bool = False) -> None:
        """If the gateway could not be reached or takes no calls, avoid it for a while and read the view."""
        if not absent:
            return  # the gateway forwards the call when it is repeated
        self._avoid(silo, "it could not be reached, or takes no calls")

    def disconnected(self, gateway: SiloAddress, error: Exception | None) -> None:
        """Avoid a gateway whose connection has ended, and read the view. Called by the sender's link."""
        if not gateway.generation and error is not None:  # a seed whose silo is not known yet
            gateway = next((each for each in self._gateways.values() if each.endpoint == gateway.endpoint), gateway)
        self._avoid(gateway, str(error or "it closed the connection"))

    def connecting(self, gateway: SiloAddress) -> None:
        """The client opens a connection to this gateway: the view can be read there from now on."""
        self._waiting_reads.connecting(gateway)

    @property
    def changes(self) -> int:
        """How often `changed` has ended early so far."""
        return self._changed.times

    async def changed(self, seconds: float) -> None:
        """Wait up to `seconds` for a newer view, or for a gateway that works again."""
        await self._changed.wait(seconds)

    def watch(self, moved: Moved) -> None:
        """See `Locator`."""
        self._moved = moved

    async def wait_for(self, active: set[SiloAddress]) -> None:
        """Read the view repeatedly until exactly these silos are active."""
        while {member.address for member in self.view.active} != active:
            self._refresh_wanted.set()
            await self.changed(0.1)

    def implementations(self, interface: str) -> Implementations:
        """The grain types of the whole cluster that implement an interface. If there is none, the view is read soon."""
        found = self.view.implementations(interface)
        if not found.types:  # perhaps a silo that brings it has just joined
            self._refresh_wanted.set()
        return found

    @property
    def cut_off(self) -> bool:
        """Whether no gateway answered the last request for the view."""
        return self._contacts.cut_off

    def all(self) -> tuple[SiloAddress, ...]:
        """The gateways of all active silos."""
        return tuple(self._gateways.values())

    # --- reading the view -----------------------------------------------------------------------------------------

    async def find(self, ask: Ask) -> None:
        """Reach one gateway and learn the others from it.

        Raises SiloUnavailable with each gateway's reason after `connect_timeout`. A refused handshake will not change
        with time, so HandshakeRefused is raised at once, unless the silo starts, leaves or has too many connections.
        """
        began = self._loop.time()
        deadline = began + self._options.connect_timeout
        backoff = Backoff(CONNECT_RETRY_FIRST, CONNECT_RETRY_LIMIT, self._random)
        warned = False
        while True:
            failures = [failure for seed in self._seeds if (failure := await self._try(ask, seed)) is not None]
            if len(failures) < len(self._seeds):
                return
            for failure in failures:
                cause = failure.__cause__ if isinstance(failure.__cause__, HandshakeRefused) else failure
                if isinstance(cause, HandshakeRefused) and cause.code not in MAY_CHANGE:
                    raise cause
            tried = "; ".join(str(failure.__cause__ or failure) for failure in failures)
            now = self._loop.time()
            if now >= deadline:
                raise SiloUnavailable(f"no gateway could be reached: {tried}. Is a silo running there?")
            if now - began >= WARN_AFTER and not warned:
                warned = True
                log.warning("no gateway answers yet: %s; trying for %.0f s more", tried, deadline - now)
            await asyncio.sleep(backoff.pause())

    async def keep_fresh(self, ask: Ask) -> None:
        """Keep reads of the view waiting at gateways, and read it at once when one fails. Runs until it is cancelled.

        While a gateway is avoided, it is tried twice in each `avoid_for`. So calls get it again when it answers, not to
        find out whether it does.
        """

        async def read(gateway: SiloAddress, seconds: float) -> Exception | None:
            if (failure := await self._try(ask, gateway, seconds)) is not None:
                self._refresh_wanted.set()
            return failure

        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(self._waiting_reads.run(read, lambda: self.view.version))
            await self._search(ask)

    async def _search(self, ask: Ask) -> None:
        """Read the view when a gateway has failed, and while one is avoided or the client knows none."""
        backoff = Backoff(SEARCH_RETRY_FIRST, SEARCH_RETRY_LIMIT, self._random)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_period()):
                    await self._refresh_wanted.wait()
            if self._gateways and not self._avoided and not self._refresh_wanted.is_set():
                continue  # the waiting reads do it
            self._refresh_wanted.clear()
            if await self._refresh(ask):
                backoff.reset()
                await asyncio.sleep(MIN_REFRESH_INTERVAL)
            else:
                await asyncio.sleep(backoff.pause())
                self._refresh_wanted.set()

    def _refresh_period(self) -> float:
        period = self._options.refresh_period
        return min(period, self._options.avoid_for / 2) if self._avoided else period

    async def _refresh(self, ask: Ask) -> bool:
        """Read the view from one gateway; if that fails, from all others at once. Returns whether one answered.

        Lost gateways are asked too, to find out whether they work again.
        """
        usable = list(self._usable().values())
        self._random.shuffle(usable)
        first, *others = dict.fromkeys([*usable, *self._random.sample(self._seeds, len(self._seeds))])
        failures = {first: failure} if (failure := await self._try(ask, first)) is not None else {}
        if not failures:
            await self._keep_home(ask, first)  # before the lost gateways, whose silence takes long
        rest = [each for each in (others if failures else self._contacts.not_working) if each != first]
        for gateway, failed in zip(rest, await asyncio.gather(*(self._try(ask, each) for each in rest)), strict=True):
            if failed is not None:
                failures[gateway] = failed
        if first not in failures:
            return True
        if len(failures) <= len(rest):
            await self._keep_home(ask, first)
            return True
        events = self._contacts.on_no_answer({gateway: str(failure) for gateway, failure in failures.items()})
        if events:
            log.warning("no gateway answers, the client keeps searching: %s", events[0], extra={"event": "no_gateway"})
        self._notify(events)
        return False

    def keep_home(self, client: GrainId) -> None:
        """Keep a connection to the owner of this client's place on the ring, where silos look for it first."""
        if self._home is None:
            self._home = client
            self._refresh_wanted.set()

    async def _keep_home(self, ask: Ask, reached: SiloAddress) -> None:
        """Reach the owner of this client's place, unless it was just `reached`."""
        if self._home is not None and (owner := self.known(self._home)) is not None and owner != reached:
            await self._try(ask, owner)

    def close(self) -> None:
        """Send no more events: the client closes its connections itself from now on."""
        self._closed = True

    def _avoid(self, gateway: SiloAddress, reason: str) -> None:
        self._avoided[gateway] = self._loop.time() + self._options.avoid_for
        self._moved(None)
        self._notify(self._contacts.on_failure(gateway, reason))
        self._refresh_wanted.set()

    def _notify(self, events: Sequence[ConnectionEvent]) -> None:
        for event in () if self._closed else events:
            self._listeners.notify(event)

    async def _try(self, ask: Ask, gateway: SiloAddress, seconds: float = 0.0) -> Exception | None:
        """Read the view from one gateway, which may wait so long for a newer one. Returns the error if that failed."""
        question = encode(ViewQuestion(self.view.version, seconds)) if seconds else b""
        if gateway in self._avoided:
            self._avoided[gateway] = self._loop.time() + ASK_TIMEOUT + self._options.avoid_for
        try:
            self._on_view(_VIEW.decode(await ask(gateway, VIEW, question, seconds + ASK_TIMEOUT)))
        except (CallError, HandshakeRefused, msgspec.DecodeError) as error:
            if seconds and isinstance(error, Overloaded):
                return None  # the gateway works; the next read comes later
            self._avoided[gateway] = self._loop.time() + self._options.avoid_for
            self._moved(None)
            self._notify(self._contacts.on_failure(gateway, str(error)))
            return error
        if self._avoided.pop(gateway, None) is not None:
            self._moved(None)
            self._changed.fire()
        self._waiting_reads.connecting(gateway)
        self._notify(self._contacts.on_answer(gateway))
        return None

    def _on_view(self, view: View) -> None:
        if view.version == self.view.version and self.view.members:
            return
        if view.version < self.view.version and any(self.view.get(member.address) for member in view.members):
            return  # the answering silo is behind; keep gateways that it does not know yet
        # A lower version without any of our silos means that the cluster and its table were created anew.
        self.view = view
        self._gateways = {member.address: _gateway(member) for member in view.active if member.gateway}
        living = [member for member in view.members if member.status is not SiloStatus.DEAD]
        self._learn(view)
        self._notify(self._contacts.on_list(self._gateways.values()))
        # A leaving silo still sends answers; a dead one does not.
        not_dead = frozenset(_gateway(member) for member in living)
        for gateway in self._not_dead - not_dead:
            self._on_gateway_dead(gateway)
        self._not_dead = not_dead
        self._ring = Ring(member.address for member in view.active)
        if self._home is not None:
            self._refresh_wanted.set()  # its place may have another owner
        self._moved(None)
        self._changed.fire()

    def _usable(self) -> dict[SiloAddress, SiloAddress]:
        """The gateway of each silo, without those to be avoided; all of them if none is left."""
        if not self._avoided:
            return self._gateways
        now = self._loop.time()
        avoided = {gateway: until for gateway, until in self._avoided.items() if until > now}
        if len(avoided) < len(self._avoided):
            self._avoided = avoided
            self._moved(None)
        usable = {silo: gateway for silo, gateway in self._gateways.items() if gateway not in self._avoided}
        return usable or self._gateways

    def _free(self) -> list[SiloAddress]:
        """The gateways that are not to be avoided."""
        return [gateway for gateway in self._usable().values() if gateway not in self._avoided]


def _ignore(_grain_id: GrainId | None) -> None:
    """Do nothing: no caller remembers gateways yet."""


def _gateway(member: Member) -> SiloAddress:
    """The address under which a client reaches a silo: with its gateway's port."""
    return SiloAddress(member.address.host, member.gateway, member.address.generation)
