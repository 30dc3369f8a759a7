"""Finds the silo to which a client is connected, for calls to its observers.

A client with observers keeps a connection to the owner of its place on the hash ring, so the first guess is mostly
right and costs no message. A silo that guessed wrong asks all others, and remembers the answer.
"""

from __future__ import annotations

import asyncio

import msgspec

from grange.aio.backoff import Backoff
from grange.aio.tasks import Tasks
from grange.directory.cache import PlaceCache
from grange.directory.slice.current_view import CurrentView
from grange.directory.slice.deps import DirectoryDeps
from grange.directory.slice.topology import Topology
from grange.errors import CallError, CallNotExecuted, ObserverGone, SiloUnavailable
from grange.proto.clients import client_of, grain_id_of_client
from grange.proto.ids import GrainId, SiloAddress
from grange.runtime.observers.routes import ClientState
from grange.runtime.system_target import SystemTargets

CLIENT = "directory.client"
"""The system target that answers whether a client is connected to its silo."""

SEARCH_FIRST, SEARCH_LIMIT = 0.02, 0.25
"""Seconds between two questions to all silos while a client may be on its way from one silo to another. They grow: a
client whose gateway has died connects to another one within some milliseconds, or it takes long."""

MOST_STRAYS = 10_000
"""Clients that are not where the ring says, of which a silo knows; beyond it all are forgotten, and asked for again."""

Found = SiloAddress | type[CallNotExecuted]
"""The silo of a client, or the error for its callers."""

_STATE = msgspec.msgpack.Decoder(ClientState)


class ClientLocator:
    """The part of `ClusterLocator` for observers."""

    def __init__(self, deps: DirectoryDeps, current: CurrentView, tasks: Tasks) -> None:
        self._deps = deps
        self._current = current
        self._tasks = tasks
        self._cache = PlaceCache(deps.options.cache_size)
        self._strays: set[GrainId] = set()
        self._searches: dict[str, asyncio.Task[Found]] = {}

    def serve(self, targets: SystemTargets) -> None:
        """Answer other silos whether a client is connected here."""

        async def answer(question: bytes) -> bytes:
            return msgspec.msgpack.encode(self._deps.client_state(question.decode(errors="replace")))

        targets.serve(CLIENT, answer)

    def known(self, observer: GrainId) -> SiloAddress | None:
        """The silo to try without waiting: this one, the one found last, or the owner of the client's place."""
        client = client_of(observer)
        if self._deps.client_state(client) is ClientState.HERE:
            return self._deps.me
        grain_id = grain_id_of_client(client)
        if (cached := self._cache.get(grain_id)) is not None:
            return cached
        owner = self._current.topology.ring.owner(grain_id.ring_hash)
        return None if owner == self._deps.me or grain_id in self._strays else owner

    async def locate(self, observer: GrainId) -> SiloAddress:
        """Ask all silos for the client, for up to `client_return` seconds while none has it.

        Raises ObserverGone if no silo has it, and SiloUnavailable if that is not certain.
        """
        client = client_of(observer)
        search = self._searches.get(client)
        if search is None:  # callers of one client share one search
            search = self._searches[client] = self._tasks.start(self._search(client))
            search.add_done_callback(lambda _: self._searches.pop(client, None))
        try:
            found = await asyncio.shield(search)
        except asyncio.CancelledError:
            if not search.cancelled():
                raise
            found = SiloUnavailable  # this silo ends
        if isinstance(found, SiloAddress):
            return found
        reason = "some silos did not answer" if found is SiloUnavailable else "it was closed, or lost its connection"
        raise found(f"call to {observer} was not executed: its client is not connected to any silo: {reason}")

    def invalidate(self, observer: GrainId, silo: SiloAddress) -> None:
        """The client is not connected to this silo."""
        grain_id = grain_id_of_client(client_of(observer))
        self._cache.drop(grain_id, silo)
        if len(self._strays) >= MOST_STRAYS:
            self._strays.clear()
        self._strays.add(grain_id)

    def on_view(self, before: Topology, after: Topology) -> None:
        """Forget the places on silos that are gone. The ring has changed, so clients may have followed it."""
        self._strays.clear()
        for silo in self._cache.silos:
            if after.is_dead(silo) or (silo in before.live and silo not in after.live):
                self._cache.drop_silo(silo)

    async def _search(self, client: str) -> Found:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._deps.options.client_return
        backoff = Backoff(SEARCH_FIRST, SEARCH_LIMIT, self._deps.rng)
        while True:
            if self._deps.client_state(client) is ClientState.HERE:
                return self._deps.me
            found = await self._ask_all(client)
            if isinstance(found, SiloAddress):
                self._cache.put(grain_id_of_client(client), found)
                return found
            if found is ObserverGone or loop.time() >= until:
                return found or ObserverGone
            await asyncio.sleep(backoff.pause())

    async def _ask_all(self, client: str) -> Found | None:
        """The silo that has the client; ObserverGone if one knows that it has gone; SiloUnavailable if one is silent.

        None: no silo knows it.
        """
        states: set[ClientState | None] = {self._deps.client_state(client)}
        live = sorted(self._current.topology.live - {self._deps.me})
        tasks = Tasks()
        try:
            asked = {silo: tasks.start(self._ask(silo, client)) for silo in live}
            while asked:
                await asyncio.wait(asked.values(), return_when=asyncio.FIRST_COMPLETED)
                answers = {silo: asked.pop(silo).result() for silo in live if silo in asked and asked[silo].done()}
                if here := [silo for silo, state in answers.items() if state is ClientState.HERE]:
                    return here[0]
                states.update(answers.values())
        finally:
            await tasks.close()
        if None in states:
            return SiloUnavailable
        return ObserverGone if ClientState.GONE in states else None

    async def _ask(self, silo: SiloAddress, client: str) -> ClientState | None:
        """What this silo knows of the client; None: it did not answer."""
        try:
            answer = await self._deps.ask(silo, CLIENT, client.encode(), self._deps.options.ask_timeout)
            return _STATE.decode(answer)
        except (CallError, msgspec.DecodeError):
            return None
