"""The events about the application's own code beside its grains, one declaration each; see `catalogue.py`."""

from __future__ import annotations

from logging import ERROR

from grange.observability.events import Event


class BackgroundFailed(Event, frozen=True):
    """A background service of the application raised an error; it runs again after a pause."""

    NAME, LEVEL, LOGGER = "background_failed", ERROR, "silo"
    SENTENCE = "the background service {name!r} of silo {me} failed: {error}; it runs again in {pause:.1f} s"
    KEY = ("name",)
    name: str
    error: str
    pause: float


class ServiceFailed(Event, frozen=True):
    """A hook of a silo service raised an error; the service goes on."""

    NAME, LEVEL, LOGGER = "service_failed", ERROR, "silo"
    SENTENCE = "{hook} of the silo service {service!r} failed on silo {me}: {error}"
    KEY = ("service", "hook")
    service: str
    hook: str
    error: str


class AuthenticateFailed(Event, frozen=True):
    """`authenticate=` of a silo raised an error, or returned no usable identity; a client is refused."""

    NAME, LEVEL, LOGGER = "authenticate_failed", ERROR, "silo"
    SENTENCE = "authenticate= failed on silo {me} with {error}, so a token counts as unknown"
    KEY = ("error",)
    error: str
