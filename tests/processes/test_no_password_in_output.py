"""A wrong URL with a password: neither the log nor the output of the process shows the password."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

CANARY = "canary-password"
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(
    "options",
    [
        ("--storage", f"postgresql://ann:{CANARY}@127.0.0.1:1/none"),
        ("--membership", f"redis://ann:{CANARY}@127.0.0.1:1/0"),
        ("--storage", f"postgresql://ann:{CANARY}@[broken/none"),
        ("--membership", f"nosuch://ann:{CANARY}@127.0.0.1/none"),
        ("--storage", f"postgresql://ann:{CANARY}@127.0.0.1:notaport/none"),
    ],
    ids=["postgres-away", "redis-away", "broken-host", "unknown-scheme", "no-port"],
)
async def test_a_password_in_a_wrong_url_is_not_shown(options: tuple[str, ...], tmp_path: Path) -> None:
    command = ("-m", "grange", "run", "grange.cli.demo_silo:silo", "--log-json", "--log-level", "debug")
    ports = ("--port", "0", "--gateway-port", "0", "--data", str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GRANGE_ADMIN_TOKEN": f"admin-{CANARY}", "GRANGE_HTTP": "off"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, *ports, *options, cwd=tmp_path, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode not in (0, None)
    assert errors
    assert CANARY.encode() not in out + errors
