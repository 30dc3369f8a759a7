"""What the admin port sees of a silo: the parts that its probes read, its figures, and the way to ask."""

from __future__ import annotations

from grange.silo.access import SiloAccess
from grange.silo.config import SiloConfig
from grange.silo.crossing import Crossing
from grange.silo.health import HealthParts
from grange.silo.running import RunningSilo


def show_to_admin(silo: RunningSilo, config: SiloConfig) -> None:
    """Show this silo to its admin port, if it has one. Called once its parts exist, before it joins."""
    ports, agent, hosting = silo.ports, silo.cluster.agent, silo.hosting
    if not ports.admin.is_open:
        return
    dead_after = config.membership_settings().dead_loop_after
    ports.admin.health.watch(
        HealthParts(agent=agent, shutdown=silo.shutdown, loop_watch=silo.loop_watch, dead_after=dead_after)
    )
    me = (ports.address, ports.name, ports.cluster)
    crossing = Crossing(me, lambda: agent.view, hosting.silo_targets, silo.links.sender.ask)
    options = {name: str(value) for name, value in config.__repr_args__() if name is not None}
    ports.admin.attach(crossing, SiloAccess(crossing, silo.publisher, options, hosting.roles.level_of_token))
