"""A resource that a lease protects (`lease.py`): it refuses a token that is older than one that it has seen."""

from __future__ import annotations

from dataclasses import dataclass

from grange import Grain, PersistentState, transactional


class StaleToken(Exception):
    """The caller's lease ended, and a later holder was here already. Nothing was changed."""


@dataclass
class Page:
    """The text, and the highest token that was seen. Both are stored in one step, when a method ends."""

    text: str = ""
    token: int = 0


class Document(Grain, name="document", errors=[StaleToken]):
    """One document. Reads pass the token too: from its first read on, a holder is safe from late writes of others."""

    def __init__(self, page: PersistentState[Page]) -> None:
        self._page = page

    @transactional
    async def read(self, token: int) -> str:
        """The text. Raises StaleToken."""
        self._see(token)
        return self._page.value.text

    @transactional
    async def write(self, token: int, text: str) -> None:
        """Replace the text. Raises StaleToken."""
        self._see(token)
        self._page.value.text = text

    def _see(self, token: int) -> None:
        """Remember a newer token, and refuse an older one."""
        if token < self._page.value.token:
            raise StaleToken(f"token {token}, but {self._page.value.token} was here")
        self._page.value.token = token
