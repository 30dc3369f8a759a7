"""What user code raises, wherever it runs, never changes what callers are told of their calls."""

from __future__ import annotations

import pytest

from grange import ConfigurationError, Grain, SiloUnavailable
from grange.client import Client
from grange.silo import Silo
from grange.testing import TestCluster


class NoStock(SiloUnavailable):
    """Says "not executed", but is raised by a method."""


async def test_an_error_that_says_not_executed_cannot_be_registered() -> None:
    """It would be taken for a refusal, and what was executed would be executed again and again."""
    with pytest.raises(ConfigurationError, match="CallError"):

        class Shop(Grain, errors=[NoStock]):
            pass

    class Plain(Grain):
        pass

    memory = {"membership": "memory://", "storage": "memory://"}
    with pytest.raises(ConfigurationError, match="CallError"):
        await Silo(grains=[Plain], errors=[NoStock], port=0, gateway_port=0, **memory).start()
    with pytest.raises(ConfigurationError, match="CallError"):
        Client(["127.0.0.1:1"], errors=[NoStock])


class Overworked(Grain):
    def __init__(self) -> None:
        self.runs = 0

    async def work(self) -> None:
        self.runs += 1
        raise NoStock("nothing left")

    async def count(self) -> int:
        return self.runs


async def test_a_method_that_raises_not_executed_runs_once() -> None:
    async with TestCluster(grains=[Overworked], silos=2) as cluster:
        for number, caller in enumerate((cluster, *cluster.silos)):
            grain = caller.get_grain(Overworked, f"{number}")
            with pytest.raises(Exception, match="nothing left") as raised:
                await grain.work()
            assert not isinstance(raised.value, SiloUnavailable)
            assert await grain.count() == 1
