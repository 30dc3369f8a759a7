"""The error texts of a Redis that cannot be used."""

from __future__ import annotations

import pytest
import redis.asyncio

from grange.databases.errors import AnswerLost
from grange.databases.redis import RedisLink


@pytest.mark.parametrize(
    ("error", "end"),
    [(TimeoutError(), r"did not answer within 2\.0 s$"), (OSError("no route"), "is not available: no route$")],
)
async def test_an_error_without_a_message_leaves_no_colon(error: Exception, end: str) -> None:
    link = RedisLink(redis.asyncio.Redis(), "cache:6379")

    with pytest.raises(AnswerLost, match=f"^Redis at cache:6379 {end}"):
        async with link.operation(2.0):
            raise error
