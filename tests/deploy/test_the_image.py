"""Checks the image without Docker: hadolint, stages, user, pins, health check (S13)."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.source.workload import HTTP_PORT
from grange.servers.process import LOOPBACK
from grange.silo.config import SiloConfig
from grange.transport.tls_contexts import server_context
from tests.architecture.sources import ROOT
from tests.transport.pairs import Pairs

PROGRAM = "deploy/image/health.py"


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest of it) of the Dockerfile, comments dropped and continuations joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def of_kind(kind: str) -> list[str]:
    return [rest for name, rest in instructions() if name == kind]


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run(
        [hadolint, "--no-color", "--failure-threshold", "style", ROOT / "Dockerfile"], capture_output=True, check=False
    )
    assert (found.returncode, found.stdout + found.stderr) == (0, b"")


def test_the_build_tools_stay_in_their_own_stage() -> None:
    stages = [re.fullmatch(r"(\S+) AS (\w+)", base) for base in of_kind("FROM")]
    assert [stage and (stage[1], stage[2]) for stage in stages] == [
        ("${BASE}", "build"),
        ("${BASE}", "base"),
        ("base", "flights"),
        ("base", "silo"),
    ]
    taken = [copy for copy in of_kind("COPY") if copy.startswith("--from")]
    assert taken == ["--from=build /venv /venv"]


def test_the_base_is_a_slim_version_that_a_digest_may_pin() -> None:
    (base,) = of_kind("ARG")
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", base)


def test_the_silo_is_pid_1_and_not_root() -> None:
    assert json.loads(of_kind("ENTRYPOINT")[0]) == ["grange"]
    user = of_kind("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    names = [name for name, _ in instructions()]
    assert "RUN" not in names[names.index("USER") :]


def test_every_package_in_the_image_is_pinned_to_its_hash() -> None:
    installs = [step for run in of_kind("RUN") for step in run.split("&&") if "pip install" in step]
    assert len(installs) == 3
    for step in installs:
        assert ("--require-hashes" in step and "requirements/" in step) or ("--no-deps" in step and "dist/" in step)


@pytest.mark.parametrize("variables", [{}, {"GRANGE_TLS__CERTIFICATE": "/run/tls.crt"}], ids=["plain", "tls"])
@pytest.mark.parametrize("has_tls", [False, True])
@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (None, 1)])
async def test_the_health_check_asks_the_admin_port(
    status: int | None, code: int, has_tls: bool, variables: dict[str, str]
) -> None:
    """It runs as the image runs it, against a server that answers, refuses, or is not there; with TLS or without."""
    (check,) = of_kind("HEALTHCHECK")
    python, program, path = json.loads(check[check.index("[") :])
    assert python == "python"
    assert f"{PROGRAM} {Path(program).parent}" in of_kind("COPY")
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readline()
        if request.startswith(b"GET "):
            asked.append(request.split()[1].decode())
            writer.write(f"HTTP/1.1 {status} Words\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()

    tls = server_context(Pairs().silo().material.current, certificates=ssl.CERT_NONE) if has_tls else None
    server = await asyncio.start_server(answer, LOOPBACK, 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    if status is None:
        server.close()
    ran = await asyncio.create_subprocess_exec(
        sys.executable, ROOT / PROGRAM, path, env={"GRANGE_HTTP": str(port), **variables}
    )
    assert await ran.wait() == code
    server.close()
    await server.wait_closed()
    assert asked == ([] if status is None else ["/livez"])


def test_the_image_exposes_the_ports_that_its_silos_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe port is fixed in the image, because a free one could not be exposed."""
    for setting in of_kind("ENV"):
        for name, _, value in (pair.partition("=") for pair in setting.split()):
            if name.startswith("GRANGE_"):
                monkeypatch.setenv(name, value)
    config = SiloConfig()
    (ports,) = of_kind("EXPOSE")
    assert list(map(int, ports.split())) == [config.port, config.probe_port, config.gateway_port, HTTP_PORT]


def test_the_files_that_the_image_copies_exist_and_reach_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for copy in of_kind("COPY"):
        if copy.startswith("--from"):
            continue
        for source in copy.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert not sent.isdisjoint({source, source.split("/")[0]}), source
