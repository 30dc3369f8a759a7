"""Publishes what the limits of a silo against floods refuse. `startup.py` calls it once the silo has events."""

from __future__ import annotations

from grange.observability.events import Events
from grange.observability.flood_events import ConnectionsRefused, IdentityLimited
from grange.runtime.calls.allowances import Allowances
from grange.silo.gated_listener import GatedListener


def report_floods(listeners: tuple[GatedListener, ...], allowances: Allowances, events: Events) -> None:
    """Publish each refusal from now on; `Events` limits the lines."""

    def report_port(name: str, listener: GatedListener) -> None:
        listener.watch(lambda reason, address: events.publish(ConnectionsRefused(name, reason, address or "elsewhere")))

    for listener in listeners:
        report_port(listener.name, listener)
    allowances.on_refused = lambda reason, name: events.publish(IdentityLimited(name or "a client", reason))
