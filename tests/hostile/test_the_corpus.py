"""The hostile corpus: strangers attack every port, honest clients are served meanwhile, and no file or memory is lost.

Each attack of each list runs on each port that it knows, alone. After it the silo answers a new client in time, files
and memory are back, the event loop has no exception to report, and the log has few lines and no secret.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from grange.observability.process import resident_bytes
from grange.silo import admin_server
from tests.hostile import attacks_on_any_port, attacks_on_grpc, attacks_on_http, attacks_on_sockets
from tests.hostile.attacks import Attack
from tests.hostile.forgeries import CANARY
from tests.hostile.protections import Protection, mutual_tls, plain
from tests.hostile.victim import open_files, target

CORPUS = [
    *attacks_on_any_port.corpus.attacks,
    *attacks_on_sockets.corpus.attacks,
    *attacks_on_grpc.corpus.attacks,
    *attacks_on_http.corpus.attacks,
]

PORTS = {
    "silo": "grpc", "gateway": "grpc", "probe": "grpc", "silo-socket": "socket", "gateway-socket": "socket",
    "admin": "http",
}  # fmt: skip

MOST_LINES = 100
"""Lines that an attack may cause in the log: each kind is limited to ten in a minute."""

PROTECTIONS = {"plain": plain, "tls": mutual_tls}

OF_THE_ATTACKER = "socket.send() raised exception."
"""A line of the event loop about the attacker's own sockets."""

CASES = [
    pytest.param(protect, attack, port, id=f"{name}-{port}-{attack.name}")
    for name, protect in PROTECTIONS.items()
    for attack in CORPUS
    for port, protocol in PORTS.items()
    if protocol in attack.on and (protect is not plain or not attack.needs_tls)
]


@pytest.mark.parametrize(("protect", "attack", "port"), CASES)
async def test_an_attack_harms_no_honest_client(
    protect: Callable[[Path], Protection],
    attack: Attack,
    port: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """S6, F28, F34, F35, F36."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(admin_server, "REQUEST_TIMEOUT", 1.0)
    async with target(tmp_path, protect(tmp_path)) as victim:
        await victim.serves()
        gc.collect()
        files, memory = open_files(), resident_bytes()
        attacking = asyncio.create_task(attack.run(victim.places[port], Random(5)))
        await asyncio.sleep(0)
        await victim.serves()  # while the attack runs
        await attacking
        await victim.serves()
        await victim.recovers(files, memory)
        victim.is_quiet()
    assert len([each for each in caplog.records if each.getMessage() != OF_THE_ATTACKER]) < MOST_LINES
    output = caplog.text + "".join(capfd.readouterr())
    assert CANARY not in output
    assert "Traceback" not in output
