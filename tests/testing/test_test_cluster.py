"""The test cluster itself: reproducible, independent of its environment, and without leftovers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from grange import ConfigurationError, Grain
from grange.runtime.options import RuntimeOptions
from grange.testing import TestCluster


class Cart(Grain, placement="random"):
    async def where(self) -> str:
        return str(self._grange.owner.deps.address)  # type: ignore[attr-defined]


async def places(seed: int) -> list[str]:
    async with TestCluster([Cart], silos=3, seed=seed) as cluster:
        await cluster.advance(10)
        return [await cluster.get_grain(Cart, str(number)).where() for number in range(30)]


async def test_a_seed_repeats_a_run() -> None:
    """Addresses, random draws and placements are the same; another seed gives others."""
    first, again, other = await places(1), await places(1), await places(2)
    assert first == again
    assert first != other


async def test_environment_and_files_do_not_change_a_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither environment variables nor a file in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grange.toml").write_text('cluster = "production"\nnonsense = 1\n')
    monkeypatch.setenv("GRANGE_CLUSTER", "production")
    monkeypatch.setenv("GRANGE_RUNTIME__IDLE_TIMEOUT", "7")
    async with TestCluster([Cart]) as cluster:
        assert await cluster.get_grain(Cart, "a").where()
        assert cluster.activation(cluster.get_grain(Cart, "a")).owner.deps.options == RuntimeOptions()  # type: ignore[union-attr]


async def test_nothing_is_left_after_the_block() -> None:
    before = asyncio.all_tasks()
    async with TestCluster([Cart], silos=3) as cluster:
        for number in range(10):
            await cluster.get_grain(Cart, str(number)).where()
    assert asyncio.all_tasks() == before
    with pytest.raises(RuntimeError, match="the cluster is not running"):
        cluster.get_grain(Cart, "a")


async def test_it_is_closed_also_when_the_test_fails() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(LookupError):
        async with TestCluster([Cart]):
            raise LookupError
    assert asyncio.all_tasks() == before


async def test_it_is_closed_also_when_it_cannot_start() -> None:
    class Lost(Grain, placement="nowhere"):
        pass

    before = asyncio.all_tasks()
    with pytest.raises(ConfigurationError, match="no placement 'nowhere'"):
        async with TestCluster([Lost]):
            raise AssertionError("it must not start")
    assert asyncio.all_tasks() == before


async def test_where_a_grain_is() -> None:
    async with TestCluster([Cart], silos=3) as cluster:
        cart = cluster.get_grain(Cart, "a")
        assert cluster.where(cart) is None
        assert cluster.activation(cart) is None
        assert cluster.count() == 0
        place = await cart.where()
        host = cluster.where(cart)
        assert host is not None
        assert str(host.address) == place
        activation = cluster.activation(cart)
        assert activation is not None
        assert activation.grain_id == cart.id
        assert cluster.count(Cart) == cluster.count() == 1


async def test_without_virtual_time_it_uses_the_real_clock() -> None:
    async with TestCluster([Cart], silos=1, virtual_time=False) as cluster:
        assert await cluster.get_grain(Cart, "a").where()
        with pytest.raises(RuntimeError, match="needs virtual time"):
            await cluster.advance(1)


async def test_a_restarted_silo_has_its_endpoint_and_a_later_generation() -> None:
    async with TestCluster([Cart]) as cluster:
        old = cluster.silos[0]
        new = await cluster.restart(old)
        assert new.address.endpoint == old.address.endpoint
        assert new.address.generation > old.address.generation
        assert new.gateway == old.gateway
        assert len(cluster.silos) == 2


async def test_a_cluster_that_runs_is_not_entered_again() -> None:
    """The second entry failed, and ended the silos of the first."""
    async with TestCluster([Cart]) as cluster:
        with pytest.raises(RuntimeError, match="runs already"):
            await cluster.__aenter__()
        assert await cluster.get_grain(Cart, "a").where()
    async with cluster:
        assert await cluster.get_grain(Cart, "a").where()


def test_wrong_arguments_are_named_at_once() -> None:
    one_class: Any = Cart
    with pytest.raises(ConfigurationError, match=r"grains= is a list of classes, not one class: grains=\[Cart\]"):
        TestCluster(one_class)
    for silos in (0, -1):
        with pytest.raises(ConfigurationError, match=f"silos= is .*1 or more, not {silos}"):
            TestCluster([Cart], silos=silos)


async def test_a_name_in_place_of_a_class_is_named() -> None:
    name: Any = "Cart"
    async with TestCluster([Cart], silos=1) as cluster:
        with pytest.raises(ConfigurationError, match=r"'Cart' is not a class; give the grain class"):
            cluster.get_grain(name, "a")
