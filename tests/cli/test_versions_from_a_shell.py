"""`grange versions`, `grange version-rules` and `grange grains`: what a silo hosts, and the rules of its versions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from click.testing import CliRunner, Result

from grange import Grain, GrainInterface
from grange.cli.commands import main
from grange.silo.silo import Silo


class CartApi(GrainInterface, name="cart_api", version=3):
    async def add(self) -> int: ...


class Cart(Grain, CartApi, name="cart", version=2):
    async def add(self) -> int:
        return 1


async def test_versions_are_shown_and_their_rules_set(tmp_path: Path) -> None:
    """VER-04: by default or for one interface; a wrong one is refused by name, and a reset restores."""
    options = {"port": 0, "gateway_port": 0, "data": tmp_path, "name": "one", "admin_token": "a-token-of-an-admin"}
    async with Silo([Cart], **options) as silo:

        async def grange(*words: str) -> Result:
            command = [*words, "--gateway", silo.gateway]
            environment = {"GRANGE_ADMIN_TOKEN": "a-token-of-an-admin"}
            return await asyncio.to_thread(CliRunner(env=environment).invoke, main, command)

        shown = await grange("versions", "--json")
        assert json.loads(shown.output) == [
            {"type": "cart", "interface": "cart", "version": 2, "silos": ["one"]},
            {"type": "cart", "interface": "cart_api", "version": 3, "silos": ["one"]},
        ]
        assert "cart 2; cart_api 3" in (await grange("grains")).output
        policy = silo._running.cluster.versions
        done = await grange("version-rules", "cart_api", "--compatibility", "strict", "--reason", "a test")
        assert done.exit_code == 0, done.output
        assert str(policy.of("cart_api")) == "compatibility strict, selection all"
        assert (await grange("version-rules", "--selection", "latest", "--reason", "a test")).exit_code == 0
        assert str(policy.default) == "compatibility backward, selection latest"
        assert (await grange("version-rules", "cart_api", "--reset", "--reason", "a test")).exit_code == 0
        assert policy.of("cart_api") == policy.default
        wrong = await grange("version-rules", "carts", "--selection", "latest", "--reason", "a test")
        assert wrong.exit_code == 1
        assert "no active silo has a version of 'carts'" in wrong.output
        assert (await grange("version-rules", "cart_api", "--reason", "a test")).exit_code == 2
