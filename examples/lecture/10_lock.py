"""Exercise 10, a lock between processes: a lease, and the token that makes it safe.

A lock that ends by itself, as RedLock does after 30 s, cannot protect alone: its holder may be paused, by garbage
collection or a busy machine, and go on when another has the lock. Here each grant has a higher token, and the document
refuses an older one than it has seen. Lease and document are recipes: see `docs/how-to/locks.md`.
"""

from __future__ import annotations

import asyncio

from examples.recipes.document import Document, StaleToken
from examples.recipes.lease import SECONDS, Lease
from grange.testing import TestCluster


class Unchecked:
    """A file that no token protects."""

    text = ""


async def edit(name: str, cluster: TestCluster, file: Unchecked, pause: float) -> None:
    """Lock, read, pause, and write what was made of the text."""
    lease, document = cluster.get_grain(Lease, "plan"), cluster.get_grain(Document, "plan")
    token = await lease.acquire(name, patience=25)
    print(f"{name} has the lock, with token {token}")
    text = await document.read(token)
    await asyncio.sleep(pause)
    text += f"[{name}] "
    file.text = text
    try:
        await document.write(token, text)
    except StaleToken as refusal:
        print(f"{name} is refused: {refusal}")
    else:
        print(f"{name} has written")
    await lease.release(token)


async def main() -> None:
    """Ann pauses for longer than the lock lasts; Bob gets it in between."""
    async with TestCluster(grains=[Lease, Document], silos=2) as cluster:
        file = Unchecked()
        async with asyncio.TaskGroup() as group:
            group.create_task(edit("ann", cluster, file, pause=SECONDS + 5))
            await asyncio.sleep(1)
            group.create_task(edit("bob", cluster, file, pause=1))
        token = await cluster.get_grain(Lease, "plan").acquire("reader")
        print(f"with the token: {await cluster.get_grain(Document, 'plan').read(token)}")
        print(f"without it: {file.text}")


if __name__ == "__main__":
    asyncio.run(main())
