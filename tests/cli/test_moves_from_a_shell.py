"""`grange move` and `grange rebalancing` against two real silos: the question, the outcome, JSON, roles, exit codes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from grange import Grain, placement_hint
from grange.cli.exit_codes import ExitCode
from grange.silo.silo import Silo
from tests.cli.shell import Shell
from tests.silo.basket import Basket

TOKENS = {
    "admin_token": "the-token-of-admins",
    "operator_token": "the-token-of-operators",
    "viewer_token": "the-token-of-viewers",
}


class Pinned(Grain, name="pinned", placement="random", migratable=False):
    async def ping(self) -> None: ...


@asynccontextmanager
async def beside_two_silos(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shell]:
    monkeypatch.chdir(folder)
    options: dict[str, Any] = {
        "port": 0, "gateway_port": 0, "membership": "sqlite:///cluster.db", "storage": "memory://",
        "placement_options": {"rebalance": True}, **TOKENS,
    }  # fmt: skip
    classes = [Basket, Pinned]
    async with Silo(classes, name="silo-1", **options) as one, Silo(classes, name="silo-2", **options) as two:
        async with asyncio.timeout(20):
            for silo in (one, two):
                await silo.wait_for({one.address, two.address})
        yield Shell(one, two, tokens=TOKENS)


def host(shell: Shell, grain_type: str) -> list[Silo]:
    return [silo for silo in shell.silos if silo.catalog.counts().get(grain_type)]


async def test_an_activation_moves_with_its_memory_after_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MIG-01: to the silo that is named, or where its placement chooses; nothing is done without a yes."""
    async with beside_two_silos(tmp_path, monkeypatch) as shell:
        basket = shell.silos[0].get_grain(Basket, "ann")
        with placement_hint(shell.silos[0].address):
            await basket.add("a")
        words = ("move", "basket/ann", "--reason", "beside its stock")
        asked = await shell(*words, "--to", "silo-2", answer="n\n")
        assert asked.exit_code == ExitCode.FAILED
        assert f"silo-1: the activation of 'basket/ann' moves to silo {shell.silos[1].address}" in asked.stderr
        assert "with what it carries" in asked.stderr
        assert host(shell, "basket") == [shell.silos[0]]
        done = await shell(*words, "--to", "silo-2", answer="y\n", token="operator")
        assert done.exit_code == 0, done.output
        assert f"'basket/ann' is active on silo {shell.silos[1].address}" in done.stdout
        assert host(shell, "basket") == [shell.silos[1]]
        assert await basket.add("b") == ["a", "b"]
        (row,) = await shell.json(*words, "--yes")
        assert (row["name"], row["outcome"], row["count"]) == ("silo-2", "done", 1)
        assert await basket.add("c") == ["a", "b", "c"]
        assert host(shell, "basket") == [shell.silos[0]]
        audit = await shell.json("audit")
        assert [(each["action"], each["target"], each["outcome"]) for each in audit["rows"]] == [
            ("move", "basket/ann", "begun"), ("move", "basket/ann", "done"),
        ] * 2  # fmt: skip


async def test_a_move_that_cannot_be_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beside_two_silos(tmp_path, monkeypatch) as shell:
        with placement_hint(shell.silos[0].address):
            await shell.silos[0].get_grain(Basket, "ann").add("a")
            await shell.silos[0].get_grain(Pinned, "p").ping()
        reason = ("--reason", "a test", "--yes")
        for words, text in (
            (("basket/bob",), "there is no activation of 'basket/bob' in this silo"),
            (("basket/ann", "--to", "silo-9"), "'silo-9' names 0 active silos"),
            (("basket/ann", "--to", "silo-1"), "'basket/ann' is on silo silo-1 already"),
            (("pinned/p",), "its class has migratable=False"),
        ):
            refused = await shell("move", *words, *reason)
            assert refused.exit_code == ExitCode.FAILED, refused.output
            assert text in refused.stdout
        assert (await shell("move", "basket/ann")).exit_code == ExitCode.USAGE
        assert (await shell("move", "basket/ann", "--reason", "a test", "--json")).exit_code == ExitCode.USAGE
        viewer = await shell("move", "basket/ann", *reason, token="viewer")
        assert viewer.exit_code == ExitCode.UNAUTHORIZED
        assert host(shell, "basket") == [shell.silos[0]]


async def test_the_rebalancers_are_shown_suspended_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MIG-07: on all silos, with a row for each; a viewer sees them, and suspends none."""
    async with beside_two_silos(tmp_path, monkeypatch) as shell:
        with placement_hint(shell.silos[0].address):
            for key in "abc":
                await shell.silos[0].get_grain(Basket, key).add("a")
        report = await shell.json("rebalancing", token="viewer")
        assert {row["name"]: row["address"] for row in report} == {silo.name: str(silo.address) for silo in shell.silos}
        assert {row["suspended"] for row in report} == {0}
        assert sorted(row["activations"] for row in report) == [0, 3]
        table = await shell("rebalancing")
        assert "waits: the cluster has changed" in " ".join(table.stdout.split())
        assert "silo-1" in table.stdout
        assert "silo-2" in table.stdout
        suspend = ("rebalancing", "--suspend", "600", "--reason", "a load test")
        refused = await shell(*suspend, token="viewer")
        assert refused.exit_code == ExitCode.UNAUTHORIZED
        done = await shell(*suspend, token="operator")
        assert done.exit_code == 0, done.output
        assert done.stdout.count("the rebalancer is suspended for 600 s") == 2
        report = await shell.json("rebalancing")
        assert [row["state"] for row in report] == ["suspended"] * 2
        assert all(500 < row["suspended"] <= 600 for row in report)
        assert "suspended for" in " ".join((await shell("rebalancing")).stdout.split())
        assert (await shell("rebalancing", "--resume")).exit_code == 0
        assert {row["suspended"] for row in await shell.json("rebalancing")} == {0}
        again = await shell("rebalancing", "--resume")
        assert again.exit_code == ExitCode.FAILED
        assert "the rebalancer is not suspended" in again.stdout
        both = await shell("rebalancing", "--suspend", "5", "--resume")
        assert both.exit_code == ExitCode.USAGE
        assert "contradict each other" in both.stderr
        for wrong in ("0", "-1", "604801"):
            assert (await shell("rebalancing", "--suspend", wrong, "--reason", "x")).exit_code == ExitCode.FAILED
