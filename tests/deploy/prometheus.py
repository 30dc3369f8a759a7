"""A real Prometheus of a test: it scrapes what the test names, each half second, on a free port of loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml

from grange.servers.process import free_port
from tests.architecture.sources import ROOT
from tests.tools import tool

RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
PATIENCE = 60.0
"""Seconds of every wait; only a defect takes so long."""


class Prometheus:
    """The API of one server."""

    def __init__(self, url: str) -> None:
        self._client = httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30)

    async def query(self, expr: str) -> list[dict[str, Any]]:
        """The result of an instant query: a list of series, each with its labels and value."""
        answer = (await self._client.get("/api/v1/query", params={"query": expr})).json()
        assert answer["status"] == "success", f"{answer.get('error')}: {expr}"
        return answer["data"]["result"]

    async def rules(self) -> list[dict[str, Any]]:
        """The rules with their health."""
        groups = (await self._client.get("/api/v1/rules")).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def ready(self) -> bool:
        try:
            return (await self._client.get("/-/ready")).status_code == 200
        except httpx2.TransportError:
            return False

    async def close(self) -> None:
        await self._client.aclose()


@asynccontextmanager
async def prometheus(targets: Sequence[str], folder: Path) -> AsyncGenerator[Prometheus]:
    """Run a server that scrapes these targets, with the alert rules of deploy/."""
    port = free_port()
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "grange", "static_configs": [{"targets": list(targets)}]}],
    }
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config))
    process = await asyncio.create_subprocess_exec(
        tool("prometheus"),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
        cwd=folder,
    )
    server = Prometheus(f"http://127.0.0.1:{port}")
    try:
        async with asyncio.timeout(PATIENCE):
            while not await server.ready():
                assert process.returncode is None, "prometheus ended"
                await asyncio.sleep(0.1)
        yield server
    finally:
        await server.close()
        if process.returncode is None:
            process.kill()
        await process.wait()
