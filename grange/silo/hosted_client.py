"""`HostedClient`: a client inside a silo's process, for code that is not a grain. Its calls need no connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypeVar, Unpack

from grange.grains.definition import Addressable
from grange.grains.finding import FindOptions, GrainFinder, ListOptions, StoredGrain
from grange.grains.observer import GrainObserver
from grange.grains.ref import GrainFactory
from grange.proto.keys import Key
from grange.runtime.observers.host import ObserverHost

G = TypeVar("G", bound=Addressable)
O = TypeVar("O", bound=GrainObserver)  # noqa: E741


class HostedClient:
    """The client of a silo (`Silo.client`): calls grains, and has observers, as a `Client` does.

    A call to a grain of this silo stays in the process; the outgoing filters are those of the silo.
    """

    def __init__(self, grains: GrainFactory, finder: GrainFinder, host: ObserverHost) -> None:
        self._grains = grains
        self._finder = finder
        self._host = host

    def get_grain(self, grain: type[G], key: Key, *, implementation: str | None = None) -> G:
        """A reference to a grain: see `Client.get_grain`."""
        return self._grains.get_grain(grain, key, implementation=implementation)

    def list_grains(self, grain: type[G], **options: Unpack[ListOptions]) -> AsyncGenerator[StoredGrain[G]]:
        """The stored grains of a class, page by page: see `GrainFinder.list_grains`."""
        return self._finder.list_grains(grain, **options)

    def find_grains(
        self, grain: type[G], where: Mapping[str, Any], **options: Unpack[FindOptions]
    ) -> AsyncGenerator[G]:
        """The grains with these values in indexed fields, page by page: see `GrainFinder.find_grains`."""
        return self._finder.find_grains(grain, where, **options)

    def create_observer(self, observer: O) -> O:
        """A reference to an object that grains may call from now on: see `Client.create_observer`."""
        return self._host.create(observer, self._grains)

    def delete_observer(self, reference: GrainObserver) -> bool:
        """End an observer: see `Client.delete_observer`."""
        return self._host.delete(reference)

    @property
    def observers(self) -> int:
        """The number of its observers."""
        return len(self._host)
