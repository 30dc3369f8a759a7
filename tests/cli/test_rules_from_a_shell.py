"""`grange allowed`, `grange rules` and `grange doctor`: who may call what, and why."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from grange import CallFacts, Grain, Identity, requires
from grange.cli.commands import main
from grange.silo.silo import Silo
from tests.cli.shell import Shell

TOKENS = {"admin_token": "a-token-of-an-admin", "viewer_token": "a-token-of-a-viewer"}
RULES = [
    {"who": ["role:customer"], "call": ["cart/*", "card/read"]},
    {"who": ["role:clerk"], "call": ["cart/adds"]},
]


class Cart(Grain, name="cart"):
    async def add(self) -> int:
        return 1

    @requires("role:admin")
    async def close(self) -> None: ...


def own_cart(identity: Identity | None, call: CallFacts) -> bool | str:
    return identity is not None and (identity.subject == f"user:{call.key}" or "it is not your cart")


@pytest.fixture
async def grange(tmp_path: Path) -> AsyncIterator[Shell]:
    options = {
        "port": 0, "gateway_port": 0, "data": tmp_path, "name": "one", "allow": RULES, "authorize": own_cart,
        "roles": {"user:ann": ["customer"]}, **TOKENS,
    }  # fmt: skip
    async with Silo([Cart], **options) as silo:
        yield Shell(silo, tokens=TOKENS)


async def test_a_decision_is_explained(grange: Shell) -> None:
    shown = await grange("allowed", "user:bob", "cart/add")
    assert shown.exit_code == 1
    assert "user:bob may not call cart/add: it is allowed to role:customer" in " ".join(shown.output.split())
    shown = await grange("allowed", "user:bob", "cart/add", "--role", "customer", "--json")
    assert shown.exit_code == 0
    (answer,) = json.loads(shown.stdout)["answers"]
    assert answer == {
        "silo": "one", "allowed": True, "mode": "enforce", "function": "not asked", "roles": ["customer"],
        "why": "role:customer may call cart/*, card/read", "by": ["role:customer may call cart/*, card/read"],
        "unknown": False,
    }  # fmt: skip


async def test_the_roles_that_the_silo_gives_count(grange: Shell) -> None:
    answers = await grange.json("allowed", "user:ann", "cart/add", token="viewer")
    assert answers["answers"][0]["roles"] == ["customer"]


async def test_the_policy_function_is_asked_for_a_key(grange: Shell) -> None:
    assert (await grange("allowed", "user:ann", "cart/add", "--key", "ann")).exit_code == 0
    shown = await grange("allowed", "user:ann", "cart/add", "--key", "bob", "--json")
    assert shown.exit_code == 1
    assert json.loads(shown.stdout)["answers"][0]["why"] == "user:ann may not call cart/add: it is not your cart"


async def test_requirements_and_callers_without_an_identity_are_explained(grange: Shell) -> None:
    shown = await grange("allowed", "user:ann", "cart/close", "--json")
    assert json.loads(shown.stdout)["answers"][0]["by"] == ["@requires('role:admin')"]
    shown = await grange("allowed", "anonymous", "cart/add")
    assert "a caller without an identity may not call" in " ".join(shown.output.split())
    assert (await grange("allowed", "user:ann", "cart")).exit_code == 2
    assert "cart has no method ad\n" in (await grange("allowed", "user:ann", "cart/ad")).output
    assert "no silo hosts 'card'" in (await grange("allowed", "user:ann", "card/read")).output


async def test_the_rules_in_force_are_shown(grange: Shell) -> None:
    (silo,) = (await grange.json("rules"))["silos"]
    assert silo["mode"] == "enforce"
    assert silo["rules"] == ["role:customer may call cart/*, card/read", "role:clerk may call cart/adds"]
    assert silo["requires"] == {"cart/close": ["@requires('role:admin')"]}
    assert silo["function"] is True
    assert silo["notes"] == [
        "rule 1: card/read matches nothing here: this silo hosts no grain type 'card'",
        "rule 2: cart/adds matches nothing: 'cart' has no method 'adds'; it has: add, close",
        "no rule is about calls that grains make: who = ['grain:*', 'silo'] with call = ['*/*'] allows them all",
    ]
    assert "one: rule 2: cart/adds matches nothing" in " ".join((await grange("rules")).output.split())


async def test_a_silo_without_rules_says_so(tmp_path: Path) -> None:
    class Free(Grain, name="free"):
        async def add(self) -> int:
            return 1

    async with Silo([Free], port=0, gateway_port=0, data=tmp_path, name="one", **TOKENS) as silo:
        grange = Shell(silo, tokens=TOKENS)
        (found,) = (await grange.json("rules"))["silos"]
        assert (found["mode"], found["rules"]) == ("none", [])
        assert (await grange("allowed", "anonymous", "free/add")).exit_code == 0


APP = """
from grange import Grain
from grange.silo import Silo

class Cart(Grain, name="cart"):
    async def add(self) -> int:
        return 1

silo = Silo([Cart], allow=[{"who": ["role:customer"], "call": ["cart/adds"]}], authorization="audit")
"""


def test_doctor_notes_what_matches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_of_rules.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    found = CliRunner().invoke(main, ["doctor", "shop_of_rules:silo", "--json"])
    assert found.exit_code == 0, found.output
    notes = [each["found"] for each in json.loads(found.stdout) if each["check"] == "rules"]
    assert notes[:2] == [
        "authorization = 'audit': no call is refused",
        "rule 1: cart/adds matches nothing: 'cart' has no method 'adds'; it has: add",
    ]
    assert CliRunner().invoke(main, ["doctor", "shop_of_rules:silo", "--strict"]).exit_code == 1
