"""Exercise 20, the right way: the role of a user is part of an identity that no caller can write.

A value of the request context is a claim: each program may set it. `caller()` is what the silo has found out by the
token of the connection, and it goes down the chain of calls like the context.
"""

from __future__ import annotations

import asyncio

from grange import Grain, Identity, caller, request_context
from grange.client import Client
from grange.testing import TestCluster

USERS = {"token-of-ann": Identity("user:ann", ("editor",)), "token-of-bob": Identity("user:bob", ("reader",))}
"""A real function checks a signature: see docs/identity.md."""


class Forbidden(Exception):
    """The role of the user does not allow it."""


class Document(Grain, errors=[Forbidden]):
    """One document: editors may change it."""

    async def change(self, text: str) -> str:
        """Change it, for the user at the beginning of the chain."""
        identity = caller()
        assert identity is not None, "each client has a token"
        if "editor" not in identity.roles:
            raise Forbidden(f"{identity} may not change {self.key}")
        return f"{identity} changed {self.key}"


class Folder(Grain, errors=[Forbidden]):
    """Changes all its documents. It knows nothing of users, and cannot change for whom it calls."""

    async def change_all(self, names: list[str]) -> list[str]:
        """One call for each document."""
        return [await self.get_grain(Document, name).change("new") for name in names]


async def connected(cluster: TestCluster, token: str) -> None:
    """A program of a user, which also lies about its role."""
    request_context["role"] = "editor"
    gateways = [silo.gateway for silo in cluster.silos]
    async with Client(gateways, transport=cluster.new_transport(token), token=token) as client:
        try:
            print(await client.get_grain(Folder, "shared").change_all(["plan", "budget"]))
        except Forbidden as error:
            print(f"refused: {error}")


async def main() -> None:
    """Two users, each with a connection."""
    async with TestCluster(grains=[Folder, Document], silos=2, authenticate=USERS.get) as cluster:
        await connected(cluster, "token-of-ann")
        await connected(cluster, "token-of-bob")


if __name__ == "__main__":
    asyncio.run(main())
