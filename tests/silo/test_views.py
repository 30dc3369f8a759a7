"""The effect of a new view on the parts of a silo: the order of its subscribers, and the end of connections."""

from __future__ import annotations

import asyncio

import pytest

from grange import Grain, response_timeout
from grange.directory.cluster import ClusterDirectory
from grange.errors import ConnectionLost
from grange.membership.model.member import SiloStatus, View
from grange.storage.guards.stores import StorageGuards
from grange.testing import TestCluster


class Holder(Grain):
    async def where(self) -> str:
        return str(self._grange.owner.deps.address)  # type: ignore[attr-defined]

    @response_timeout(300)
    async def hold(self) -> None:
        await asyncio.Event().wait()


async def test_the_storage_guards_get_each_view_before_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grains that the directory gives away in a view load their state only after the deaths in it are recorded."""
    calls: list[tuple[str, object, int]] = []
    guards_on_view, directory_on_view = StorageGuards.on_view, ClusterDirectory.on_view

    def on_guards(guards: StorageGuards, view: View) -> None:
        calls.append(("guards", asyncio.current_task(), view.version))
        guards_on_view(guards, view)

    def on_directory(directory: ClusterDirectory, view: View) -> None:
        calls.append(("directory", asyncio.current_task(), view.version))
        directory_on_view(directory, view)

    monkeypatch.setattr(StorageGuards, "on_view", on_guards)
    monkeypatch.setattr(ClusterDirectory, "on_view", on_directory)
    async with TestCluster(grains=[Holder], silos=2) as cluster:
        await cluster.kill(cluster.silos[1])
        await cluster.stable()
    assert calls
    for guards, directory in zip(calls[::2], calls[1::2], strict=True):
        assert (guards[0], directory[0]) == ("guards", "directory")
        assert guards[1:] == directory[1:]


async def test_calls_to_a_dead_silo_end_at_once_while_their_connection_is_still_open() -> None:
    """A cut line holds messages back and reports no error, so only the view ends the call before its time-out."""
    async with TestCluster(grains=[Holder], silos=3) as cluster:
        first, second, third = cluster.silos
        key = 0
        while await first.get_grain(Holder, str(key)).where() != str(second.address):
            key += 1
        call = asyncio.ensure_future(first.get_grain(Holder, str(key)).hold())
        await cluster.advance(1)
        died: list[float] = []

        def record_death(view: View) -> None:
            member = view.get(second.address)
            if member is not None and member.status is SiloStatus.DEAD and not died:
                died.append(asyncio.get_running_loop().time())

        first.subscribe(record_death)
        cluster.partition(second, first)
        cluster.partition(second, third)
        await cluster.advance(1)
        assert not call.done()
        with pytest.raises(ConnectionLost):
            await call
        assert died
        assert asyncio.get_running_loop().time() - died[0] < 0.1
