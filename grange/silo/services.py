"""The services of one silo: a registry of its own, with asynchronous set-up and closing.

`Silo(services=…)` takes a function that fills the silo's registry, or a registry that the caller owns and shares.
`startup.py` opens the services after the stores and closes them after the last activation has ended.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import cast

from grange.errors import ConfigurationError, ServicesUnavailable
from grange.grains.registry import Registry

ServiceSetup = Callable[[Registry], AbstractAsyncContextManager[None]]
"""Fills a registry before the `yield` and frees resources after it: a function with `@asynccontextmanager`."""

Services = Registry | ServiceSetup

_MEANT = (
    "services= is a svcs.Registry, or a function with @contextlib.asynccontextmanager that takes the registry and "
    "yields once"
)


@asynccontextmanager
async def open_services(services: Services) -> AsyncGenerator[Registry]:
    """The registry of one silo. A registry that was given is used as it is and left open: its owner closes it.

    A set-up function runs once for each silo, with a new registry, which is closed at the end. Raises its errors, but
    ServicesUnavailable for an OSError before its `yield`; and ConfigurationError if it does not take one registry or
    does not return an async context manager.
    """
    if isinstance(services, Registry):
        yield services
        return
    if not callable(cast("object", services)):
        raise ConfigurationError(f"services= is a svcs.Registry or a function that fills one, not {services!r:.100}")
    async with Registry() as registry:
        _check_takes_registry(services, registry)
        opening = cast("object", services(registry))
        if not isinstance(opening, AbstractAsyncContextManager):
            if inspect.iscoroutine(opening):
                opening.close()  # without this, Python would warn that it was never awaited
            raise ConfigurationError(f"{_MEANT}; {_name(services)} returned {opening!r:.100}")
        async with AsyncExitStack() as parts:
            try:
                await parts.enter_async_context(cast("AbstractAsyncContextManager[None]", opening))
            except OSError as error:
                raise ServicesUnavailable(
                    f"services= could not be set up by {_name(services)}: {type(error).__name__}: {error}"
                ) from error
            yield registry


def _check_takes_registry(services: ServiceSetup, registry: Registry) -> None:
    try:
        signature = inspect.signature(services)
    except ValueError:  # some callables that are written in C have none
        return
    try:
        signature.bind(registry)
    except TypeError as error:
        raise ConfigurationError(f"{_MEANT}; {_name(services)} does not take it: {error}") from None


def _name(services: object) -> str:
    return repr(getattr(services, "__qualname__", services))[:100]
