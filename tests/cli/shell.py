"""A shell beside silos, in which a test runs commands as a person does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from click.testing import CliRunner, Result

from grange.cli.commands import main
from grange.silo.silo import Silo

NONE: Mapping[str, str] = MappingProxyType({})


class Shell:
    """Runs commands in a thread. `tokens` are the secrets of roles; a command has one of them."""

    def __init__(self, *silos: Silo, tokens: Mapping[str, str] = NONE) -> None:
        self.silos = silos
        self.silo = silos[0]
        self._tokens = tokens

    async def __call__(self, *words: str, answer: str | None = None, token: str = "admin") -> Result:
        command = [*words, "--gateway", self.silo.gateway]
        environment = {"GRANGE_ADMIN_TOKEN": self._tokens[f"{token}_token"]} if self._tokens else None
        return await asyncio.to_thread(CliRunner(env=environment).invoke, main, command, answer)

    async def json(self, *words: str, token: str = "admin") -> Any:
        result = await self(*words, "--json", token=token)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)
