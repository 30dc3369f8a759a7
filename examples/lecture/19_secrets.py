"""Exercise 19, secrets: the configuration has no password, and the password changes while the silo runs.

It starts a Redis and an OpenBao of its own, which speaks the protocol of Vault.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio

from grange import Grain, PersistentState
from grange.servers.openbao import OpenBaoServer
from grange.servers.redis import RedisServer
from grange.silo import Silo

POLICY = 'path "secret/data/shop" { capabilities = ["read"] }'


@dataclass
class Count:
    """What is stored."""

    number: int = 0


class Counter(Grain):
    """Counts in the store."""

    def __init__(self, count: PersistentState[Count]) -> None:
        self.count = count

    async def add(self) -> int:
        """Count, and store it."""
        self.count.value.number += 1
        await self.count.write()
        return self.count.value.number


async def change_password(vault: OpenBaoServer, admin: redis.asyncio.Redis, password: str) -> None:
    """What an operator does, or a machine each night: the store first, then the secret."""
    await admin.execute_command("ACL", "SETUSER", "app", "on", "resetpass", f">{password}", "~grange:*", "+@all")
    vault.write("shop", password=password)


async def sessions(admin: redis.asyncio.Redis) -> set[str]:
    """The connections of the silo."""
    return {each["id"] for each in await admin.client_list() if each["user"] == "app"}


async def main(folder: Path) -> None:
    """Count, change the password, and count on, on connections that know the new one."""
    with OpenBaoServer() as vault, RedisServer() as store:
        admin = redis.asyncio.Redis.from_url(store.url, decode_responses=True)
        await change_password(vault, admin, "first-password")
        role_id, secret_id = vault.make_approle("shop", POLICY)
        (folder / "secret-id").write_text(secret_id)
        url = store.url.replace("redis://", "redis://app:${vault:secret/shop#password}@")
        reached = {"address": vault.url, "role_id": role_id, "secret_id": f"${{file:{folder}/secret-id}}", "refresh": 1}
        silo = Silo(grains=[Counter], storage=url, membership="memory://", vault=reached, port=0, gateway_port=0)
        async with silo:
            counter = silo.get_grain(Counter, "visitors")
            print(f"counted {await counter.add()}")
            before = await sessions(admin)
            await change_password(vault, admin, "second-password")
            while before & await sessions(admin):  # noqa: ASYNC110 the silo replaces them
                await asyncio.sleep(0.1)
            print(f"counted {await counter.add()} with the new password, and without a restart")
        await admin.aclose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
