"""The late bindings of a silo. `startup.py` makes one `Ring` and closes it after the last stage."""

from __future__ import annotations

from collections.abc import Iterable

from grange.proto.ids import GrainAddress, SiloAddress
from grange.runtime.observers.routes import ClientState
from grange.silo.stages import Calls, Hosting, Links


class Ring:
    """Every late binding of a silo: an earlier stage calls a part that only a later stage can make.

    `bind` closes the ring. Nothing calls through it before that: the stages of the ring start no task and do not wait.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._hosting: Hosting | None = None

    def bind(self, calls: Calls, hosting: Hosting) -> None:
        """Close the ring. Called once, after the last stage."""
        # The sender sends by the peers, and the peers deliver answers to receivers of the sender.
        self._links.sender.connect_through(self._links.peers)
        # A decoded reference calls through the factory, and these calls encode and decode with the same codec.
        calls.references.bind(calls.grains)
        # A call to a grain of this silo goes to the catalog, and the activations in the catalog make calls.
        calls.deps.catalog = hosting.catalog
        # A call to an observer goes from the catalog to its client, by the connection that the client opened.
        hosting.catalog.deliver_to_client = hosting.clients.deliver
        hosting.client_inbound.call_clients(hosting.clients)
        # Directory and membership ask the catalog and the inbound side by the methods below.
        self._hosting = hosting

    @property
    def hosting(self) -> Hosting:
        """The last stage, for the methods below."""
        assert self._hosting is not None, "`bind` comes before the first call through the ring"
        return self._hosting

    # --- DirectoryDeps: the directory asks for activations, and the catalog claims activations in the directory ---

    def registered(self, start: int = 0, count: int | None = None) -> Iterable[GrainAddress]:
        """The activations that won their claim: see `DirectoryDeps`, as for the next four."""
        return self.hosting.catalog.registered(start, count)

    def is_registered(self, address: GrainAddress) -> bool:
        """Whether this activation is one of `registered`."""
        return self.hosting.catalog.is_registered(address)

    def has_activation(self, address: GrainAddress) -> bool:
        """Whether this activation exists."""
        return self.hosting.catalog.is_here(address)

    def end_unregistered(self, address: GrainAddress) -> None:
        """End an activation whose grain is registered to another activation."""
        self.hosting.catalog.deactivate_duplicate(address)

    def end_if_stateful(self, address: GrainAddress) -> None:
        """End an activation in order if it keeps state, because a duplicate ran at the same time."""
        self.hosting.catalog.deactivate_if_stateful(address)

    def client_state(self, client: str) -> ClientState:
        """What this silo knows of a client."""
        return self.hosting.clients.state(client)

    # --- MembershipDeps: membership asks when a silo was heard, and the inbound side answers for membership -------

    def heard_from(self, silo: SiloAddress) -> float:
        """The loop time at which the last frame came from this silo, by a connection that either side opened."""
        return max(self._links.peers.last_received(silo), self.hosting.silo_inbound.last_received(silo))
