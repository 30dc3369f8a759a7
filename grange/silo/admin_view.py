"""What the admin port sees of a silo, and what health checks on the other ports do."""

from __future__ import annotations

from grange.silo.access import SiloAccess
from grange.silo.config import SiloConfig
from grange.silo.crossing import Crossing
from grange.silo.health import HealthParts
from grange.silo.publisher import Publisher
from grange.silo.running import RunningSilo
from grange.silo.setup import options_of


def show_to_admin(silo: RunningSilo, config: SiloConfig) -> None:
    """Show this silo to its health checks, and to its admin port if it has one. Called before it joins."""
    ports, agent, hosting = silo.ports, silo.cluster.agent, silo.hosting
    dead_after = config.membership_settings().dead_loop_after
    health = ports.admin.health
    health.watch(
        HealthParts(
            agent=agent,
            partition=silo.cluster.directory.partition,
            shutdown=silo.shutdown,
            loop_watch=silo.loop_watch,
            dead_after=dead_after,
        )
    )
    for listener in (ports.silo_listener, ports.client_listener):
        listener.answer_health(lambda: all(check.ok for check in health.ready().values()))
    if not ports.admin.is_open:
        return
    me = (ports.address, ports.name, ports.cluster)
    crossing = Crossing(me, lambda: agent.view, hosting.silo_targets, silo.links.sender.ask)
    publisher = Publisher(silo.inspection.figures.snapshot)
    access = SiloAccess(
        crossing,
        publisher,
        options_of(config),
        hosting.identities,
        config.dashboard_options(),
        config.actions,
    )
    ports.admin.attach(crossing, publisher, access)
