"""TLS of one silo: the files of its certificate, opened before its ports, and what its ports refuse.

`opening.py` opens it first, because the admin port needs it too. The events of the silo exist later: until then they
are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from grange.observability.certificate_events import TlsRefused
from grange.observability.events import Event, Events
from grange.security.material import OF_SILO, Material
from grange.security.options import FILES, TlsOptions
from grange.security.renewal import RenewalTimes
from grange.silo.config import SiloConfig
from grange.transport.tls import Tls
from grange.transport.tls_material import open_material


class EarlyEvents:
    """Keeps events until the silo's are there."""

    def __init__(self) -> None:
        self._kept: list[Event] = []
        self._events: Events | None = None

    def publish(self, event: Event) -> None:
        """Publish it, now or later. Call it in the silo's event loop."""
        if self._events is None:
            self._kept.append(event)
        else:
            self._events.publish(event)

    def bind(self, events: Events) -> None:
        """Publish what was kept, and from now on at once."""
        self._events = events
        kept, self._kept = self._kept, []
        for event in kept:
            events.publish(event)


class SiloTls:
    """TLS of one silo: `transport` for its connections, `material` for its admin port.

    `refused` counts the peers whose handshake failed on the ports of this silo, by reason.
    """

    def __init__(self, options: TlsOptions, cluster: str, material: Material, events: EarlyEvents) -> None:
        self.options = options
        self.cluster = cluster
        self.material = material
        self.required = options.mode == "required"
        self.refused: Counter[str] = Counter()
        self.times = RenewalTimes.of(options)
        self.transport = Tls(material, cluster, required=self.required, on_refused=self._on_refused, times=self.times)
        self._events = events

    def bind(self, events: Events) -> None:
        """The events of the silo are there."""
        self._events.bind(events)

    def _on_refused(self, word: str, text: str) -> None:
        self.refused[word] += 1
        self._events.publish(TlsRefused(word, text))


@asynccontextmanager
async def open_tls(config: SiloConfig) -> AsyncGenerator[SiloTls | None]:
    """TLS as the table `tls` says; None without it. Raises OptionError for files that cannot be used."""
    if not config.tls:
        yield None
        return
    options, events = config.tls_options(), EarlyEvents()
    if not options.is_given:
        raise config.wrong(
            ("tls", "speaks_for"), f"it names certificates; this silo needs {', '.join(FILES)} to see them"
        )
    async with AsyncExitStack() as stack:
        with config.naming("tls"):
            opening = open_material(options, config.cluster, OF_SILO, events.publish)
            material = await stack.enter_async_context(opening)
        yield SiloTls(options, config.cluster, material, events)
