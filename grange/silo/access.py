"""`SiloAccess`: what a page of the admin port may know of its silo, and ask any silo of the cluster.

Pages run in the admin thread's own event loop, and the parts of a silo are not thread-safe. So a page reads values that
the silo's loop has published, and its questions cross to that loop. A page is found by the entry-point group
`grange.pages`: a function that takes a `SiloAccess` and returns a Starlette application. The page named `dashboard` is
mounted at `/`, any other at `/NAME`. The lifespan of the application runs in the admin thread, from before the first
request until the silo stops: what it leaves open is cancelled two seconds later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import Protocol

from grange.membership.model.member import View
from grange.observability.snapshot import Snapshot
from grange.proto.identity import Identity
from grange.proto.ids import SiloAddress
from grange.security.certificate import Certificate
from grange.silo.crossing import Crossing
from grange.silo.dashboard_options import DashboardOptions
from grange.silo.publisher import Publisher


class Identifies(Protocol):
    """Tells identities; any thread may ask (`identities.py`)."""

    def of_token(self, token: str) -> Identity | None:
        """The identity that a token gives; None for an unknown one."""
        ...

    def of_certificate(self, certificate: Certificate) -> Identity:
        """The identity that a certificate gives."""
        ...


class SiloAccess:
    """The silo of this process, as its pages see it. Use it in the admin thread.

    `options` are the silo's options as text, without passwords; `dashboard` are those of the dashboard, and
    `actions` the acts that are switched on. `version` is that of grange.
    """

    def __init__(
        self,
        crossing: Crossing,
        publisher: Publisher,
        options: Mapping[str, str],
        identities: Identifies,
        dashboard: DashboardOptions,
        actions: Collection[str],
    ) -> None:
        self._crossing = crossing
        self._publisher = publisher
        self._identities = identities
        self.version = version("grange")
        self.options = options
        self.dashboard = dashboard
        self.actions = actions

    @property
    def address(self) -> SiloAddress:
        """The address of this silo."""
        return self._crossing.address

    @property
    def name(self) -> str:
        """The name of this silo for people."""
        return self._crossing.name

    @property
    def cluster(self) -> str:
        """The name of the cluster."""
        return self._crossing.cluster

    def members(self) -> View:
        """The newest view of the cluster that this silo has."""
        return self._crossing.view()

    def latest(self) -> Snapshot:
        """The figures of this silo as last published: at most 10 s ago, 1 s while a `watch` is open."""
        return self._publisher.latest()

    def watch(self) -> AbstractContextManager[None]:
        """While this is open, the silo publishes its figures each second."""
        return self._publisher.watch()

    async def fresh(self, timeout: float) -> Snapshot:
        """The figures as of the last second; the published ones if the silo does not answer within `timeout` seconds.

        So it answers while a turn blocks the silo.
        """
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(self._publisher.ask())
        except (TimeoutError, RuntimeError):  # the loop stands still, or is closed
            return self.latest()

    async def ask(self, silo: SiloAddress, service: str, question: bytes, timeout: float) -> bytes:
        """Ask a system target of any silo of the cluster, this one too. `timeout` is in seconds.

        The silo asked treats it as a question of a silo: a page checks the level of its user first.
        Raises SiloUnavailable (certainly not asked), ConnectionLost, SiloStopped or CallTimeout (perhaps asked), or the
        error that the service raised.
        """
        return await self._crossing.cross(lambda: self._crossing.ask(silo, service, question, timeout), timeout)

    def identity_of(self, token: str) -> Identity | None:
        """The identity that a token gives on this silo; None for an unknown one. `level_of` tells its level."""
        return self._identities.of_token(token)

    def identity_of_certificate(self, certificate: Certificate) -> Identity:
        """The identity that the certificate of a client gives."""
        return self._identities.of_certificate(certificate)
