"""Asks a Redis about itself, for `findings.py`. Entry point of the group `grange.check`."""

from __future__ import annotations

from grange.databases.findings import StoreFinding, judge_redis
from grange.databases.redis import RedisLink, permitted_config, permitted_info


async def check_redis(url: str) -> list[StoreFinding]:
    """See `StoreCheck`. Opens a connection of its own."""
    async with RedisLink.open(url, any_role=True) as link, link.operation(), link.connection() as connection:
        return judge_redis(await permitted_info(connection), await permitted_config(connection, "appendfsync"))
