"""The script of a change is loaded again into a Redis that has restarted, in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from redis.exceptions import NoScriptError

from grange.errors import StorageUnavailable
from grange.storage.options import StorageOptions
from grange.storage.stores.changes import QueuedSet
from grange.storage.stores.redis import RedisStorage
from grange.testing.contracts.storage_samples import ANN
from grange.testing.loop import VirtualTime


class Mute:
    """A client whose server takes the script and does not answer."""

    def register_script(self, script: str) -> Any:
        return script

    async def script_load(self, script: str) -> None:
        await asyncio.Event().wait()


class Restarted(RedisStorage):
    async def _run(self, batch: Sequence[QueuedSet]) -> list[Any]:
        return [NoScriptError() for _ in batch]


async def test_a_server_that_does_not_take_the_script_holds_no_lane_for_ever() -> None:
    """The change was not stored. Four lanes that hang would block all changes, and the stop of the silo too."""
    with VirtualTime(asyncio.get_running_loop()).installed():
        storage = Restarted(cast("Any", Mute()), "svc", StorageOptions(operation_timeout=2.0))
        with pytest.raises(StorageUnavailable):
            await storage.write(ANN, "state", b"1", None)
        async with asyncio.timeout(10):
            await storage.flush()
