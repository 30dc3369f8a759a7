"""New grains go where their placement says: by load, label, role, hint, revision, or an own strategy (PLC)."""

from __future__ import annotations

from collections import Counter

import pytest

from grange import ActivationFailed, ConfigurationError, Grain, SiloAddress, placement_hint, request_context
from grange.grains.context import context_values
from grange.placement import PlacementContext, by_label
from grange.testing import TestCluster


class Local(Grain, name="local", placement="prefer_local"):
    async def ping(self) -> None: ...


class Ringed(Grain, name="ringed"):
    async def ping(self) -> str:
        return ",".join(sorted(context_values.get()))

    async def other(self, key: str) -> None:
        await self.get_grain(Ringed, key).ping()


class Spread(Grain, name="spread", placement="least_loaded"):
    async def ping(self) -> None: ...


class OnGpu(Grain, name="on_gpu", placement=by_label("random", require="gpu", prefer="eu")):
    async def ping(self) -> None: ...


class ByKey(Grain, name="by_key", placement="role"):
    async def ping(self) -> None: ...


def by_tenant(context: PlacementContext) -> SiloAddress:
    tenant = str(context.request_context.get("tenant", ""))
    return min(context.candidates, key=lambda silo: (tenant not in context.labels_of(silo), silo))


class Tenant(Grain, name="tenant", placement=by_tenant):
    async def ping(self) -> str:
        return str(request_context.get("tenant"))


def broken(context: PlacementContext) -> SiloAddress:
    raise LookupError(f"no plan for {context.grain_id.key}")


class Lost(Grain, name="lost", placement=broken):
    async def ping(self) -> None: ...

    async def call_from_a_grain(self) -> None: ...


class Asker(Grain, name="asker"):
    async def ask(self, key: str) -> str:
        try:
            await self.get_grain(Lost, key).ping()
        except ActivationFailed as error:
            return str(error)
        return ""


async def test_a_grain_of_a_stopped_silo_is_created_on_another() -> None:
    """PLC-02: prefer-local grains of a silo that stops answer on another silo at the next call."""
    async with TestCluster([Local], silos=2) as cluster:
        silo = cluster.silos[0]
        local = silo.get_grain(Local, "ann")
        await local.ping()
        assert cluster.where(local) is silo
        await cluster.stop(silo)
        again = cluster.get_grain(Local, "ann")
        await again.ping()
        assert cluster.where(again) is cluster.silos[0]


async def test_a_role_places_the_grain_that_it_names() -> None:
    """PLC-04: an unknown role fails the call, which was certainly not executed; a known role places there."""
    async with TestCluster([ByKey], silos=2) as cluster:
        worker = await cluster.add_silo(labels=["worker"])
        known = cluster.get_grain(ByKey, "worker")
        await known.ping()
        assert cluster.where(known) is worker
        with pytest.raises(ActivationFailed, match="no active silo that hosts it has the role 'boss'"):
            await cluster.get_grain(ByKey, "boss").ping()


async def test_a_burst_spreads_over_the_silos() -> None:
    """PLC-05: own placements count until the next report, so that none of the silos gets most of a burst."""
    async with TestCluster([Spread], silos=4) as cluster:
        await cluster.advance(5)
        for number in range(200):
            await cluster.get_grain(Spread, str(number)).ping()
        counts = Counter(cluster.where(cluster.get_grain(Spread, str(number))) for number in range(200))
        assert len(counts) == 4
        assert max(counts.values()) < 2 * min(counts.values())


async def test_loads_are_told_only_while_a_placement_looks_at_them() -> None:
    async with TestCluster([Ringed], silos=3) as cluster:
        await cluster.advance(10)
        assert [len(silo.directory.loads.fresh()) for silo in cluster.silos] == [0, 0, 0]
    async with TestCluster([Spread], silos=3) as cluster:
        await cluster.advance(10)
        assert [len(silo.directory.loads.fresh()) for silo in cluster.silos] == [3, 3, 3]


async def test_required_and_preferred_labels_decide() -> None:
    """PLC-06: no silo with a required label: no candidate; a preferred one counts while a silo has it."""
    async with TestCluster([OnGpu], silos=2) as cluster:
        with pytest.raises(ActivationFailed, match="has the label 'gpu'"):
            await cluster.get_grain(OnGpu, "0").ping()
        plain = await cluster.add_silo(labels=["gpu"])
        first = cluster.get_grain(OnGpu, "1")
        await first.ping()
        assert cluster.where(first) is plain
        best = await cluster.add_silo(labels=["gpu", "eu"])
        for number in range(10, 30):
            grain = cluster.get_grain(OnGpu, str(number))
            await grain.ping()
            assert cluster.where(grain) is best


async def test_a_silo_that_leaves_or_is_full_is_no_candidate() -> None:
    """PLC-07: candidates follow the view: a silo that stops gets no new grains, and one that joins gets some."""
    async with TestCluster([Spread], silos=2) as cluster:
        gone = cluster.silos[0]
        await cluster.stop(gone)
        added = await cluster.add_silo()
        await cluster.advance(5)
        for number in range(40):
            await cluster.get_grain(Spread, str(number)).ping()
        assert {silo for silo in cluster.silos if silo.catalog.counts()} == {cluster.silos[0], added}


@pytest.mark.parametrize("through", ["client", "silo"])
async def test_a_strategy_of_the_application_sees_the_request_context(through: str) -> None:
    """Also for a call of a client: its gateway decides."""
    async with TestCluster([Tenant], silos=1) as cluster:
        homes = {name: await cluster.add_silo(labels=[name]) for name in ("red", "blue", "green")}
        for name, home in homes.items():
            request_context["tenant"] = name
            caller = cluster if through == "client" else cluster.silos[0]
            grain = caller.get_grain(Tenant, f"{name}-{through}")
            assert await grain.ping() == name
            assert cluster.where(grain) is home
        del request_context["tenant"]


async def test_an_error_of_a_strategy_is_a_call_that_was_not_executed() -> None:
    """The same error for a client, a grain and code of the silo."""
    async with TestCluster([Lost, Asker], silos=2) as cluster:
        for caller in (cluster, cluster.silos[0]):
            with pytest.raises(ActivationFailed, match="raised LookupError: no plan for ann"):
                await caller.get_grain(Lost, "ann").ping()
        assert "no plan for bob" in await cluster.get_grain(Asker, "x").ask("bob")
        assert cluster.count(Lost) == 0


async def test_a_silo_without_the_class_asks_one_that_knows_its_strategy() -> None:
    async with TestCluster([Ringed], silos=1) as cluster:
        bare = cluster.silos[0]
        more = [Ringed, Tenant, Lost]  # the silos that join host more
        homes = {name: await cluster.add_silo(grains=more, labels=[name]) for name in ("red", "blue")}
        for name, home in homes.items():
            request_context["tenant"] = name
            grain = bare.get_grain(Tenant, name)
            assert await grain.ping() == name
            assert cluster.where(grain) is home
        with pytest.raises(ActivationFailed, match="no plan for ann"):
            await bare.get_grain(Lost, "ann").ping()
        del request_context["tenant"]


@pytest.mark.parametrize("through", ["client", "silo"])
async def test_a_hint_places_one_grain_and_ends_with_its_call(through: str) -> None:
    """It counts for an absent grain, does not travel on, and is hidden from user code."""
    async with TestCluster([Ringed, Spread], silos=4) as cluster:
        caller = cluster if through == "client" else cluster.silos[0]
        for silo in cluster.silos:
            ringed = caller.get_grain(Ringed, f"{silo.name}-{through}")
            spread = caller.get_grain(Spread, f"{silo.name}-{through}")
            with placement_hint(silo.address):
                assert not request_context
                assert await ringed.ping() == ""
                await spread.ping()
            assert cluster.where(ringed) is silo
            assert cluster.where(spread) is silo
        lives = caller.get_grain(Ringed, f"silo-1-{through}")
        with placement_hint(cluster.silos[3].address):
            await lives.ping()
            await lives.other("inner")
        assert cluster.where(lives) is cluster.silos[0]
        direct = cluster.get_grain(Ringed, "inner")
        here = cluster.where(direct)
        ring = cluster.silos[0].directory.topology.ring
        assert here is not None
        assert here.address == ring.owner(direct.id.ring_hash)


async def test_a_hint_that_no_silo_fits_is_ignored() -> None:
    async with TestCluster([Ringed], silos=2) as cluster:
        with placement_hint(SiloAddress("127.0.0.1", 1, 1)):
            await cluster.get_grain(Ringed, "ann").ping()
        with pytest.raises(ValueError, match="reserved"):
            request_context["$place"] = "x"
        with pytest.raises(TypeError, match="placement_hint takes a SiloAddress"), placement_hint("x"):  # type: ignore[arg-type]
            pass


async def test_new_grains_prefer_the_newest_revision_while_two_are_active() -> None:
    """EXT-02: those that are active stay, also while their callers call; silos that leave take none."""
    async with TestCluster([Ringed, Spread], silos=2, revision=1) as cluster:
        olds = list(cluster.silos)
        kept = [cluster.get_grain(Ringed, f"old-{number}") for number in range(20)]
        for grain in kept:
            await grain.ping()
        homes = [cluster.where(grain) for grain in kept]
        new = await cluster.add_silo(revision=2)
        for number in range(40):
            for cls in (Ringed, Spread):
                grain = cluster.get_grain(cls, f"new-{number}")
                await grain.ping()
                assert cluster.where(grain) is new
        for grain in kept:
            await grain.ping()
        assert [cluster.where(grain) for grain in kept] == homes
        for silo in olds:
            await cluster.stop(silo)
        await kept[0].ping()
        assert cluster.where(kept[0]) is new


async def test_a_label_that_the_revision_makes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="made by the option revision"):
        async with TestCluster([Ringed], labels=["revision=7"]):
            pass


@pytest.mark.parametrize(
    ("placement", "text"),
    [
        (5, "takes the name of a strategy, a function"),
        (lambda: None, "takes a function of one argument, the context"),
        (PlacementContext, "takes an object, not the class"),
    ],
)
def test_a_wrong_strategy_is_an_error_of_the_class(placement: object, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"grain class Wrong: placement= {text}|{text}"):

        class Wrong(Grain, placement=placement):  # type: ignore[call-arg]
            pass


def test_an_async_strategy_is_an_error_of_the_class() -> None:
    async def decide(context: PlacementContext) -> SiloAddress:
        return context.caller

    with pytest.raises(ConfigurationError, match="decides without waiting"):

        class Wrong(Grain, placement=decide):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "needs a label"),
        ({"require": ""}, "are words"),
        ({"require": ["a", "a"]}, "twice"),
        ({"require": "a", "prefer": "a"}, "is required"),
        ({"require": "a", "at_least": 2}, "no effect without prefer"),
        ({"prefer": "a", "at_least": 0}, "whole number"),
    ],
)
def test_wrong_label_filters_are_refused(arguments: dict[str, object], text: str) -> None:
    """PLC-06: a filter that would have no effect, or contradicts itself, is an error."""
    with pytest.raises(ConfigurationError, match=text):
        by_label(**arguments)  # type: ignore[arg-type]
