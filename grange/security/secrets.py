"""Reads the secrets that references name, and keeps the last good value of each while its source is away.

One object serves one silo or command. A silo makes it when it starts and closes it after its stores. A source is found
by its name among the entry points `grange.secrets`; it is loaded when the first reference names it, never at import.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from typing import Literal, cast

import msgspec

from grange.aio.backoff import Backoff
from grange.aio.tasks import Tasks
from grange.aio.throttled_log import ThrottledLog
from grange.errors import ConfigurationError, GrangeError, SecretUnavailable
from grange.security.known import KnownSecrets
from grange.security.references import Reference
from grange.security.secret import Secret
from grange.security.source import SecretSource, SecretSourceFactory

log = logging.getLogger("grange.security")

GROUP = "grange.secrets"
"""The entry point group: the name is that of the source, the object a `SecretSourceFactory`."""

STALE = 3600.0
"""Seconds for which a last good value is used while its source is away."""

PATIENCE = 1.0
"""Seconds that a new connection waits for a source that is slow, before it uses the last good value. The answer that
comes later counts for the next one."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
"""Seconds between two questions to a source that has failed; in between the last good value is used at once."""

_EXTRAS = {"hvac": "pip install \"hvac>=2.3\" (it is the extra 'vault' of grange)"}


class SecretNews(msgspec.Struct, frozen=True):
    """Something that operators should know about a secret. `reason` shows no value.

    `unread`: its source fails, and the last good value is used. `stale`: that value is too old, too. `back`: it was
    read again. `refused`: a store has refused it, also after it was read again.
    """

    kind: Literal["unread", "stale", "back", "refused"]
    name: str
    reason: str = ""
    age: float = 0.0


class SecretFigures:
    """What was read so far, for metrics: by source with success and without, and the refused logins."""

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.refused = 0


class _State:
    """What is known of one reference."""

    def __init__(self, rng: random.Random) -> None:
        self.last: Secret | None = None
        self.good_at = 0.0
        self.retry_at = 0.0
        self.is_stale = False
        self.error: GrangeError | None = None
        self.task: asyncio.Task[None] | None = None
        self.backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, rng)


class Secrets:
    """Reads secrets. It makes no connection before the first one is read.

    `stale` is in seconds. `tables` has the options of a source by its name. `known` learns each value that is secret.
    `report` is called with news.
    """

    def __init__(
        self,
        stale: float = STALE,
        tables: Mapping[str, object] | None = None,
        known: KnownSecrets | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._stale = stale
        self._tables = tables or {}
        self._rng = rng or random.Random()  # noqa: S311 no secret
        self._tasks = Tasks()
        self._sources: dict[str, SecretSource] = {}
        self._states: dict[Reference, _State] = {}
        self._warnings = ThrottledLog(log)
        self._is_open = False
        self.known = known or KnownSecrets()
        self.figures = SecretFigures()
        self.report: Callable[[SecretNews], None] = _nothing

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Secrets]:
        """Renew what is lent, inside the `async with`; at exit the sources close."""
        self._is_open = True
        try:
            yield self
        finally:
            self._is_open = False
            await self._tasks.close()
            for source in self._sources.values():
                await source.close()
            self._sources.clear()

    async def read(self, reference: Reference, fresh: bool = False) -> Secret:
        """The value now, else the last good one, if that is not older than `stale`.

        `fresh`: the value that was read before was refused. Raises ConfigurationError for a reference that leads to
        nothing, and SecretUnavailable for a source that does not answer; both show no value.
        """
        state = self._states.setdefault(reference, _State(self._rng))
        now = asyncio.get_running_loop().time
        if state.last is not None and not fresh and now() < state.retry_at:
            return self._last_good(reference, state)
        if state.task is None or fresh:
            state.task = self._tasks.start(self._read(reference, state, fresh))
        # Waited for in this way, a task goes on when one of those who wait for it is cancelled.
        await asyncio.wait([state.task], timeout=None if state.last is None else PATIENCE)
        return self._last_good(reference, state)

    @property
    def unread(self) -> dict[str, int]:
        """By source: the number of secrets whose last good value is used because they cannot be read."""
        return dict(Counter(each.source for each, state in self._states.items() if state.error is not None))

    def refused(self, name: str, reason: str) -> None:
        """A store has refused a login by secrets that were read anew. `name` is that of the store."""
        self.figures.refused += 1
        self.report(SecretNews("refused", name, self.known.hide(reason)))

    def _last_good(self, reference: Reference, state: _State) -> Secret:
        age = asyncio.get_running_loop().time() - state.good_at
        if state.last is not None and (state.error is None or age < self._stale):
            return state.last
        if state.last is None:
            error = state.error or SecretUnavailable(f"{reference} was not read: the reading was ended")
            raise type(error)(str(error))  # anew for each who asked
        if not state.is_stale:
            state.is_stale = True
            self.report(SecretNews("stale", str(reference), str(state.error), age))
        raise SecretUnavailable(
            f"{reference} was not read for {age:.0f} s, so its last value is used no more: {state.error}"
        )

    async def _read(self, reference: Reference, state: _State, fresh: bool) -> None:
        """Ask the source, and note the outcome."""
        task = asyncio.current_task()
        try:
            value = await self._source(reference.source).read(reference.name, fresh)
        except Exception as error:  # of a source of another package, too: it must not end a silo
            self._note_failure(reference, state, error)
        else:
            self._note_value(reference, state, Secret(value))
        finally:
            if state.task is task:
                state.task = None

    def _note_value(self, reference: Reference, state: _State, value: Secret) -> None:
        now = asyncio.get_running_loop().time()
        if state.error is not None and state.last is not None:
            self.report(SecretNews("back", str(reference), age=now - state.good_at))
        self.figures.read[reference.source] += 1
        state.last, state.good_at, state.retry_at = value, now, 0.0
        state.error, state.is_stale = None, False
        state.backoff.reset()

    def _note_failure(self, reference: Reference, state: _State, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        self.figures.failed[reference.source] += 1
        # The text of a foreign error may show a value, so its class must do.
        reason = str(error) if isinstance(error, GrangeError) else f"its source raised {type(error).__name__}"
        kind = ConfigurationError if isinstance(error, ConfigurationError) else SecretUnavailable
        state.error = kind(f"{reference}: {self.known.hide(reason)}")
        state.retry_at = now + state.backoff.pause()
        if state.last is not None:
            self._warnings.warning("a secret cannot be read; the value read before is used", state.error)
            self.report(SecretNews("unread", str(reference), str(state.error), now - state.good_at))

    def _source(self, name: str) -> SecretSource:
        source = self._sources.get(name)
        if source is None:
            source = self._sources[name] = _factory(name)(self._tables.get(name))
            if self._is_open:
                self._tasks.start(source.keep())
        return source


def _nothing(news: SecretNews) -> None:
    """Stands for the reporter of a silo where there is none."""


def _factory(name: str) -> SecretSourceFactory:
    points = {point.value: point for point in entry_points(group=GROUP, name=name)}
    if not points:
        known = ", ".join(sorted({f"${{{point.name}:…}}" for point in entry_points(group=GROUP)})) or "none"
        raise ConfigurationError(f"there is no source of secrets named {name!r}; known are {known}")
    if len(points) > 1:
        raise ConfigurationError(
            f"${{{name}:…}} has several sources ({GROUP}): {', '.join(sorted(points))}; uninstall all but one"
        )
    (point,) = points.values()
    try:
        return cast("SecretSourceFactory", point.load())
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        remedy = _EXTRAS.get(package, f"pip install {package}")
        raise ConfigurationError(
            f"${{{name}:…}} needs the package {package}, which is not installed: {remedy}"
        ) from error
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"the source of ${{{name}:…}}, {point.value}, cannot be imported: {error}") from error
