"""The services of one silo: a registry of its own, with asynchronous set-up and closing.

`Silo(services=…)` takes a function that fills the silo's registry, or a registry that the caller owns and shares.
`startup.py` opens the services after the stores and closes them after the last activation has ended.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

import svcs

from grange.errors import ConfigurationError

ServiceSetup = Callable[[svcs.Registry], AbstractAsyncContextManager[None]]
"""Fills a registry before the `yield` and frees resources after it: a function with `@asynccontextmanager`."""

Services = svcs.Registry | ServiceSetup


@asynccontextmanager
async def open_services(services: Services) -> AsyncGenerator[svcs.Registry]:
    """The registry of one silo. A registry that was given is used as it is and left open: its owner closes it.

    A set-up function runs once for each silo, with a new registry, which is closed at the end. Raises its errors, and
    ConfigurationError if it does not return an async context manager.
    """
    if isinstance(services, svcs.Registry):
        yield services
        return
    async with svcs.Registry() as registry:
        opening = cast("object", services(registry))
        if not isinstance(opening, AbstractAsyncContextManager):
            if inspect.iscoroutine(opening):
                opening.close()  # without this, Python would warn that it was never awaited
            raise ConfigurationError(
                f"services= is a svcs.Registry, or a function with @contextlib.asynccontextmanager that takes the "
                f"registry and yields once; {getattr(services, '__qualname__', services)!r} returned {opening!r}"
            )
        async with cast("AbstractAsyncContextManager[None]", opening):
            yield registry
