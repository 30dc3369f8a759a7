"""A silo answers for the log lines of its process (`management.logs`), if it was asked to keep them."""

from __future__ import annotations

import logging
from collections.abc import Generator

import msgspec
import pytest

from grange import Grain
from grange.proto.journal import LOGS, Logs, ReadLogs
from grange.proto.management import encode
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster

log = logging.getLogger("shop")


class Cart(Grain):
    """A grain that logs."""

    async def add(self, sku: str) -> None:
        """Log that it adds something."""
        log.info("adds to cart %s", self.key, extra={"sku": sku})


@pytest.fixture(autouse=True)
def level() -> Generator[None]:
    before = log.level
    log.setLevel(logging.INFO)
    yield
    log.setLevel(before)


async def ask(silo: Silo, question: ReadLogs) -> Logs:
    answer = await silo._here("").links.sender.ask(silo.address, LOGS, encode(question), 5.0)
    return msgspec.msgpack.decode(answer, type=Logs)


async def test_the_lines_of_a_grain_are_kept_with_its_type() -> None:
    async with TestCluster(grains=[Cart], silos=1, keep_logs=True) as cluster:
        await cluster.get_grain(Cart, "ann").add("apple")
        answer = await ask(cluster.silos[0], ReadLogs(grain_type="cart"))
        assert answer.kept
        assert [(row.text, row.logger, row.facts["sku"]) for row in answer.rows] == [
            ("adds to cart ann", "shop", "apple")
        ]
        active = await ask(cluster.silos[0], ReadLogs(event="silo_active"))
        assert len(active.rows) <= 1  # the level of grange's loggers decides


async def test_a_silo_that_was_not_asked_keeps_none_and_says_so() -> None:
    handlers = logging.getLogger().handlers[:]
    async with TestCluster(grains=[Cart], silos=1) as cluster:
        assert logging.getLogger().handlers == handlers
        answer = await ask(cluster.silos[0], ReadLogs())
        assert not answer.kept
        assert answer.rows == ()


async def test_the_handler_goes_with_the_silo() -> None:
    handlers = logging.getLogger().handlers[:]
    async with TestCluster(grains=[Cart], silos=2, keep_logs=True) as cluster:
        assert len(logging.getLogger().handlers) == len(handlers) + 2
        await cluster.kill(cluster.silos[0])
        assert len(logging.getLogger().handlers) == len(handlers) + 1
    assert logging.getLogger().handlers == handlers
