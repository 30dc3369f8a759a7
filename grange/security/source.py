"""Where secrets come from: the contract of the entry points `grange.secrets`. Their names are those in references.

`secrets.py` calls it.
"""

from __future__ import annotations

from typing import Protocol


class SecretSource(Protocol):
    """One source of secrets of one silo or command, used in one event loop."""

    async def read(self, name: str, fresh: bool) -> str:
        """The secret of this name as it is now: what stands behind the colon in `${source:name}`.

        It is asked for each new connection to a store, and every few seconds while stores are open, so it may keep
        what it has read for a while. `fresh`: not now, because what was read before is refused. No blank is taken away.
        Raises ConfigurationError for a name that leads to nothing, and SecretUnavailable if the source does not answer.
        No error shows a secret.
        """
        ...

    async def keep(self) -> None:
        """Runs as long as the silo does, for what must be renewed in time; it may return at once."""
        ...

    async def close(self) -> None:
        """Free what the source holds. No other method is called after it."""
        ...


class SecretSourceFactory(Protocol):
    """The object of an entry point: a class, or a function that makes a source. It does no I/O."""

    def __call__(self, options: object) -> SecretSource:
        """`options`: the table of a silo's options that has the name of the source; None if there is no such table."""
        ...
