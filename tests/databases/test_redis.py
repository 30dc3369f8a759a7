"""What the membership table in Redis says when it cannot be used."""

from __future__ import annotations

import pytest
import redis.asyncio

from grange.databases.redis import RedisLink
from grange.errors import MembershipUnavailable


@pytest.mark.parametrize(("error", "end"), [(TimeoutError(), "s$"), (OSError("no route"), "s: no route$")])
async def test_an_error_without_words_leaves_no_colon(error: Exception, end: str) -> None:
    link = RedisLink(redis.asyncio.Redis(), "cache:6379")

    with pytest.raises(MembershipUnavailable, match=rf"Redis at cache:6379 did not answer within 2\.0 {end}"):
        async with link.operation(2.0):
            raise error
