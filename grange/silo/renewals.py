"""Asks the peers of a silo for new connections in place of those that they have, and cuts those that must not go on.

`security/renewal.py` decides. It concerns the connections of peers that proved who they are: by a certificate, or by a
token. The peer opens the new connection, moves to it, and closes the old one when its calls are answered.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from random import Random

import msgspec

from grange.errors import ConnectionLost
from grange.observability.certificate_events import ConnectionCut
from grange.observability.events import Events
from grange.runtime.calls.inbound import Inbound
from grange.runtime.calls.incoming import Incoming
from grange.security.material import Material
from grange.security.renewal import HANDSHAKE, Ask, RenewalTimes, Standing, Why, judge

NEAR = 2.5
"""Seconds before a connection is to be cut at which a timer for that is set: a look comes every second."""

_TEXTS = {
    Why.AGE: "this connection is old; open another one to this silo",
    Why.PAIR: "this silo has another certificate; open another connection to it",
    Why.EXPIRED: "your certificate expires; renew it, and open another connection to this silo",
    Why.REVOKED: "your certificate is revoked; open another connection to this silo with another one",
}
"""Why a peer is asked for another connection, for that peer."""

_CAUSES = {
    Why.EXPIRED: "its certificate has expired",
    Why.REVOKED: "its certificate is revoked",
    Why.IGNORED: "it did not open another one when it was asked to",
}
"""Why a connection is cut."""


class RenewalDeps(msgspec.Struct, frozen=True, eq=False):
    """What `Renewals` uses. `material`: None without TLS. `now` is the wall clock."""

    sides: Sequence[Inbound]
    material: Material | None
    times: RenewalTimes
    events: Events
    rng: Random
    now: Callable[[], datetime]


class Renewals:
    """The renewal of the accepted connections of one silo. `look` is called every second, and at each change.

    `asked` and `cut` count the connections that were asked for or cut, by the reason.
    """

    def __init__(self, deps: RenewalDeps) -> None:
        self._deps = deps
        self._loop = asyncio.get_running_loop()
        self._standings: dict[Incoming, Standing] = {}
        self._changed_until = 0.0
        self._timer: asyncio.TimerHandle | None = None  # one for all: many connections may end at one time
        self.asked: Counter[str] = Counter()
        self.cut: Counter[str] = Counter()

    def watch(self) -> Callable[[], None]:
        """Look at the connections at once when the files of TLS change. Returns the function that ends this."""
        material = self._deps.material
        if material is None:
            return lambda: None
        ends = material.on_change(lambda _: self.replace_all()), material.on_revoked(self.look)

        def end() -> None:
            for each in ends:
                each()
            self._look_in(math.inf)

        return end

    def replace_all(self) -> None:
        """This silo has another pair: replace all connections soon, at random times."""
        self.look()
        now = self._loop.time()
        self._changed_until = now + HANDSHAKE
        for standing in self._standings.values():
            self._replace_soon(standing, now)

    def look(self) -> None:
        """Ask for and cut what is due."""
        deps, before = self._deps, self._standings
        now, date = self._loop.time(), deps.now().timestamp()
        self._standings, soonest = {}, math.inf
        for side in deps.sides:
            for incoming in side.connected:
                if incoming.connection.closed:
                    continue  # it was cut, and leaves `connected` soon
                standing = before.get(incoming) or self._standing(incoming, now, date)
                if standing is not None:
                    self._standings[incoming] = standing
                    self._act(incoming, standing, now, date)
                    soonest = min(soonest, standing.cut_within(now, date))
        self._look_in(soonest)

    def _look_in(self, seconds: float) -> None:
        """Look at the time of the next cut, if that is near: a look every second would be late."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self.look) if seconds < NEAR else None

    def standings(self) -> list[Standing]:
        """Those of all open connections, as they are now."""
        self.look()
        return list(self._standings.values())

    def _standing(self, incoming: Incoming, now: float, date: float) -> Standing | None:
        connection = incoming.connection
        if connection.certificate is None and not connection.hello.token:
            return None
        age = self._deps.times.age(self._deps.rng)
        standing = Standing(connection.certificate, now, date, now + age)
        if now < self._changed_until:
            self._replace_soon(standing, now)
        return standing

    def _replace_soon(self, standing: Standing, now: float) -> None:
        standing.renew_before(now + self._deps.rng.uniform(0.0, self._deps.times.accepted_within))

    def _act(self, incoming: Incoming, standing: Standing, now: float, date: float) -> None:
        deps, certificate = self._deps, standing.certificate
        revoked = (
            certificate is not None and deps.material is not None and deps.material.is_revoked(certificate.fingerprint)
        )
        verdict = judge(standing, now, date, revoked=revoked, times=deps.times)
        if isinstance(verdict, Ask):
            self.asked[verdict.why] += 1
            incoming.ask_to_renew(_TEXTS[verdict.why], verdict.cut_in)
        elif verdict is not None:
            self.cut[verdict.why] += 1
            cause = _CAUSES[verdict.why]
            uri = "" if certificate is None else certificate.uri
            deps.events.publish(ConnectionCut(incoming.peer, uri, cause))
            incoming.connection.kill(ConnectionLost(f"the connection was cut: {cause}"))
