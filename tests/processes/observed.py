"""The silo of the tests of observers and filters: `grange run tests.processes.observed:silo`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

from grange import Call, Grain, GrainObserver, ObserverSet, Proceed, cancellable, request_context
from grange.silo import Silo


class Refusal(Exception):
    """An error of the application, known on both sides."""


class Screen(GrainObserver, errors=[Refusal]):
    async def show(self, text: str) -> str: ...

    @cancellable
    async def hold(self) -> None: ...


class Room(Grain):
    def __init__(self) -> None:
        self.screens: ObserverSet[Screen] = ObserverSet()

    async def join(self, screen: Screen) -> int:
        """Subscribe it; returns the process of this grain."""
        self.screens.subscribe(screen)
        return os.getpid()

    async def say(self, text: str) -> list[str]:
        """Notify all; returns the names of the errors."""
        failed = await self.screens.notify(lambda screen: screen.show(text))
        return [type(error).__name__ for error in failed.values()]

    async def ask(self, screen: Screen, text: str) -> str:
        return await screen.show(text)

    @cancellable
    async def hold(self, screen: Screen) -> None:
        """Call a method that does not end by itself."""
        await screen.hold()

    async def words(self, text: str) -> AsyncIterator[str]:
        """Stream the words of a text."""
        for word in text.split():
            yield word

    async def path(self) -> str:
        return str(request_context.get("path", ""))


async def doubled(words: AsyncIterator[str]) -> AsyncIterator[str]:
    async for word in words:
        yield word * 2


async def stamp(call: Call, proceed: Proceed) -> Any:
    """An incoming filter: notes itself in the request context, refuses one word, and doubles streamed ones."""
    request_context["path"] = f"{request_context.get('path', '')}silo"
    if call.streams:
        return doubled(await proceed())
    if call.method == "say" and call.args == ("refused",):
        raise PermissionError("not this word")
    return await proceed()


silo = Silo(grains=[Room], incoming_filters=[stamp])
