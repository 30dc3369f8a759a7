"""A resource that a lease protects (`lease.py`): it refuses a token that is older than one that it has seen."""

from __future__ import annotations

from dataclasses import dataclass

from grange import Grain, PersistentState


class StaleToken(Exception):
    """The caller's lease ended, and a later holder was here already. Nothing was changed."""


@dataclass
class Page:
    """The text, and the highest token that was seen. Both are stored in one write."""

    text: str = ""
    token: int = 0


class Document(Grain, name="document", errors=[StaleToken]):
    """One document. Reads pass the token too: from its first read on, a holder is safe from late writes of others."""

    def __init__(self, page: PersistentState[Page]) -> None:
        self._page = page

    async def read(self, token: int) -> str:
        """The text. Raises StaleToken."""
        if self._sees(token):
            await self._page.write()
        return self._page.value.text

    async def write(self, token: int, text: str) -> None:
        """Replace the text. Raises StaleToken."""
        self._sees(token)
        self._page.value.text = text
        await self._page.write()

    def _sees(self, token: int) -> bool:
        """Remember a newer token, and say whether it is one; refuse an older one."""
        seen, self._page.value.token = self._page.value.token, max(token, self._page.value.token)
        if token < seen:
            raise StaleToken(f"token {token}, but {seen} was here")
        return token > seen
