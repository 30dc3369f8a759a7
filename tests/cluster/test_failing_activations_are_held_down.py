"""A grain whose activations fail again and again is refused for a growing time with its own error (LIF)."""

from __future__ import annotations

import asyncio

import pytest
import svcs

from grange import ActivationFailed, Grain
from grange.testing.cluster import TestCluster


class Weather:
    """Whether activations succeed, and how many began."""

    def __init__(self) -> None:
        self.bad = True
        self.began = 0

    def blow(self) -> None:
        self.began += 1
        if self.bad:
            raise LookupError(f"storm {self.began}")


class Boat(Grain):
    def __init__(self, weather: Weather) -> None:
        self.weather = weather

    async def on_activate(self) -> None:
        self.weather.blow()

    async def sail(self) -> int:
        return self.weather.began


class Crew(Grain, stateless_workers=2):
    """The same as stateless workers."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        weather.blow()

    async def sail(self) -> int:
        return self.weather.began


class Captain(Grain):
    async def sail(self) -> int:
        return await self.get_grain(Boat, "a").sail()


class Leaver(Grain):
    """It ends itself in each activation."""

    async def on_activate(self) -> None:
        self.deactivate_when_idle()

    async def sail(self) -> int:
        return 0


def in_weather(weather: Weather) -> svcs.Registry:
    registry = svcs.Registry()
    registry.register_value(Weather, weather)
    return registry


@pytest.mark.parametrize("grain", [Boat, Crew])
async def test_a_crash_loop_is_throttled_with_the_original_error(grain: type[Boat]) -> None:
    """LIF-27: a hundred calls in a second begin a handful of activations; each caller gets the grain's own error."""
    weather = Weather()
    async with TestCluster([Boat, Crew], silos=1, services=in_weather(weather)) as cluster:
        boat = cluster.get_grain(grain, "a")
        notes = []
        for _ in range(100):
            with pytest.raises(LookupError, match="storm") as caught:
                await boat.sail()
            notes.append(caught.value.__notes__[-1])
            await asyncio.sleep(0.01)
        assert weather.began <= 6
        assert "failed in a row; the next one may begin in" in notes[-1]
        weather.bad = False
        await asyncio.sleep(5)
        assert await boat.sail() == weather.began


async def test_one_failure_delays_no_call() -> None:
    """LIF-27: a passing fault is over at the next call."""
    weather = Weather()
    async with TestCluster([Boat], services=in_weather(weather)) as cluster:
        boat = cluster.get_grain(Boat, "a")
        with pytest.raises(LookupError):
            await boat.sail()
        weather.bad = False
        assert await boat.sail() == 2


async def test_the_refusal_is_the_same_near_and_far() -> None:
    """LIF-27: through a grain, too; each caller has an error of its own."""
    weather = Weather()
    async with TestCluster([Boat, Captain], silos=3, services=in_weather(weather)) as cluster:
        for _ in range(4):
            with pytest.raises(LookupError):
                await cluster.get_grain(Boat, "a").sail()
        began = weather.began
        errors = []
        for key in "abcdef":
            with pytest.raises(LookupError, match=f"storm {began}") as caught:
                await cluster.get_grain(Captain, key).sail()
            errors.append(caught.value)
            assert any("the next one may begin in" in note for note in caught.value.__notes__)
        assert weather.began == began
        assert len(set(map(id, errors))) == len(errors)


async def test_a_grain_without_an_error_of_its_own_names_the_time(caplog: pytest.LogCaptureFixture) -> None:
    """LIF-27: `ActivationFailed.retry_after`."""
    async with TestCluster([Leaver]) as cluster:
        leaver = cluster.get_grain(Leaver, "a")
        for _ in range(3):
            with pytest.raises(ActivationFailed):
                await leaver.sail()
        with pytest.raises(ActivationFailed, match="failed in a row") as caught:
            await leaver.sail()
        assert 0 < caught.value.retry_after <= 0.2
        assert "leaver/a is held down" in caplog.text


async def test_a_success_ends_the_row_of_failures() -> None:
    """LIF-27: the next failure is a first one again, which delays no call."""
    weather = Weather()
    async with TestCluster([Boat], silos=1, services=in_weather(weather)) as cluster:
        boat = cluster.get_grain(Boat, "a")
        for _ in range(2):
            with pytest.raises(LookupError):
                await boat.sail()
        weather.bad = False
        await asyncio.sleep(1)
        await boat.sail()
        activation = cluster.activation(boat)
        assert activation is not None
        activation.deactivate_when_idle()
        await cluster.advance(1)
        weather.bad = True
        with pytest.raises(LookupError):
            await boat.sail()
        weather.bad = False
        assert await boat.sail() == weather.began
