"""The dashboard on the admin port of a silo: it asks that silo, and acts on it, across two threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from grange import Grain
from grange.errors import CallOutcomeUnknown, SiloUnavailable
from grange.membership.model.member import make_view
from grange.proto.acts import Asker, Level
from grange.proto.ids import SiloAddress
from grange.runtime.system_target import SystemTargets
from grange.silo.crossing import Crossing
from grange.silo.silo import Silo
from grange.testing.cluster import KeywordConfig

TOKENS = {"admin_token": "an-admin-of-24-letters", "operator_token": "an-operator-of-24-letters"}


class Cart(Grain):
    async def touch(self) -> None: ...


@asynccontextmanager
async def silo_and_browser(folder: Path, token: str) -> AsyncGenerator[tuple[Silo, httpx2.AsyncClient]]:
    config = KeywordConfig(
        port=0, gateway_port=0, http=0, membership="memory://", storage="memory://", data=folder, **TOKENS
    )
    async with Silo([Cart], config=config) as silo:
        url = f"http://{silo.http}"
        async with httpx2.AsyncClient(trust_env=False, base_url=url, headers={"origin": url}, timeout=30) as browser:
            while (reply := await browser.post("/api/login", json={"token": token})).status_code == 503:
                pass
            assert reply.status_code == 204
            yield silo, browser


async def test_a_silo_acts_on_itself_in_the_name_of_the_user(tmp_path: Path) -> None:
    async with silo_and_browser(tmp_path, TOKENS["operator_token"]) as (silo, browser):
        await silo.get_grain(Cart, "ann").touch()
        question = {"action": "deactivate", "target": "cart/ann"}
        preview = (await browser.post("/api/act", json={**question, "preview": True})).json()
        assert (preview["outcome"], preview["count"]) == ("previewed", 1)
        done = (await browser.post("/api/act", json={**question, "reason": "a", "expect": preview["expect"]})).json()
        assert done["outcome"] == "done", done
        rows = (await browser.get("/api/audit")).json()["rows"]
        assert {(row["actor"], row["level"]) for row in rows} == {("token:operator", Level.OPERATOR)}
        assert {row["outcome"] for row in rows} == {"begun", "done"}


async def test_a_question_that_the_stop_interrupts_was_perhaps_answered() -> None:
    address, begun = SiloAddress("127.0.0.1", 11111, 1), asyncio.Event()
    targets = SystemTargets(lambda _: Asker("", Level.NONE))

    async def answer(_: bytes) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    async def ask(*_: object) -> bytes:
        return b""

    targets.serve("slow", answer)
    crossing = Crossing((address, "silo-1", "shop"), lambda: make_view(1, ()), targets, ask)
    asked = asyncio.create_task(crossing.cross(lambda: crossing.ask(address, "slow", b"", 30), 30))
    await begun.wait()
    await crossing.close()
    with pytest.raises(CallOutcomeUnknown, match="stopped"):
        await asked
    with pytest.raises(SiloUnavailable, match="stopped"):
        await crossing.cross(lambda: crossing.ask(address, "slow", b"", 30), 30)
