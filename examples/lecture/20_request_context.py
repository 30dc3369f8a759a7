"""Exercise 20, the request context: the role of the user goes down the chain of calls, and never back up.

No method has a parameter for it. What a grain changes in it is seen by grains that it calls, not by its caller.
"""

from __future__ import annotations

import asyncio

from grange import Grain, request_context
from grange.testing import TestCluster


class Forbidden(Exception):
    """The role of the user does not allow it. Callers get this class, because `errors=` names it."""


class Document(Grain, errors=[Forbidden]):
    """One document: editors may change it."""

    async def change(self, text: str) -> str:
        """Change it, in the name of the user at the beginning of the chain."""
        role = request_context.get("role", "none")
        if role != "editor":
            raise Forbidden(f"a user with the role {role} may not change {self.key}")
        return f"{request_context['user']} changed {self.key}"


class Folder(Grain, errors=[Forbidden]):
    """Changes all its documents. It knows nothing of users."""

    async def change_all(self, names: list[str]) -> list[str]:
        """One call for each document."""
        return [await self.get_grain(Document, name).change("new") for name in names]


async def as_user(user: str, role: str, folder: Folder) -> None:
    """What a web page would do: the context is set once, where the user is known."""
    request_context["user"], request_context["role"] = user, role
    try:
        print(await folder.change_all(["plan", "budget"]))
    except Forbidden as error:
        print(f"refused: {error}")


async def main() -> None:
    """Two users at the same time, each with a context of its own."""
    async with TestCluster(grains=[Folder, Document], silos=2) as cluster:
        folder = cluster.get_grain(Folder, "shared")
        async with asyncio.TaskGroup() as group:
            group.create_task(as_user("ann", "editor", folder))
            group.create_task(as_user("bob", "reader", folder))
        print(f"outside, the context has: {dict(request_context)}")


if __name__ == "__main__":
    asyncio.run(main())
