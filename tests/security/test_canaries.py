"""Canary secrets in every place of a silo on real servers are searched for in all that it shows.

A running silo on Postgres, whose passwords and tokens are in OpenBao, files and variables: rotation, refused logins, a
source that goes away, errors. Then its logs at DEBUG, its figures, its pages, its answers, its `repr` and the commands
beside it are searched.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from grange import Grain, PersistentState
from grange.cli.commands import main
from grange.cli.logs import JsonLines, TextLines
from grange.client.client import Client
from grange.databases import credentials
from grange.errors import StorageUnavailable, WriteOutcomeUnknown
from grange.observability.log_context import LimitedLines, LogContext
from grange.proto.inspection import SETUP
from grange.security.known import HideSecrets, KnownSecrets
from grange.servers.openbao import OpenBaoServer
from grange.silo import admin_server  # before the silo: pytest rewrites what a thread imports, and may fail
from grange.silo.silo import Silo
from tests.databases.test_rotated_passwords import Logins, end_sessions, postgres_logins, redis_logins

pytestmark = pytest.mark.servers
assert admin_server

POLICY = 'path "secret/data/*" { capabilities = ["read"] }'
CANARIES = {
    "vault": "canary-one-in-vault",
    "rotated": "canary-two-in-vault",
    "wrong": "canary-wrong-in-vault",
    "elsewhere": "canary-in-the-store-only",
    "file": "canary-token-in-file-0123",
    "env": "canary-viewer-in-variable",
    "literal": "canary-operator-literal-1",
}


@dataclass
class Count:
    number: int = 0


class Counter(Grain):
    """Counts in the store, and logs what it must not."""

    def __init__(self, count: PersistentState[Count]) -> None:
        self.count = count

    async def add(self) -> int:
        """Count."""
        self.count.value.number += 1
        await self.count.write()
        return self.count.value.number

    async def tell(self, secret: str) -> None:
        """Log a secret, as careless code does."""
        try:
            raise ValueError(f"the password {secret} is wrong")
        except ValueError:
            logging.getLogger("shop").exception("login with %r failed", secret, extra={"used": [secret]})


class Lines(logging.Handler):
    """All lines of the process: as `grange run` writes them, and what grange and its libraries logged as it was."""

    def __init__(self, known: KnownSecrets) -> None:
        super().__init__(logging.DEBUG)
        self.written: list[str] = []
        self.raw: list[str] = []
        self._hiding = HideSecrets(known)
        for each in (LogContext(), LimitedLines()):
            self.addFilter(each)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "shop":
            self.raw.append(JsonLines({}).format(record))
        self._hiding.filter(record)
        self.written += [JsonLines({}).format(record), TextLines("%(name)s %(message)s").format(record)]


@pytest.fixture
def known() -> KnownSecrets:
    return KnownSecrets()


@pytest.fixture
def lines(known: KnownSecrets) -> Iterator[Lines]:
    made, root = Lines(known), logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(made)
    yield made
    root.removeHandler(made)
    root.setLevel(level)


@pytest.fixture(params=[postgres_logins, redis_logins], ids=["postgres", "redis"])
async def logins(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Logins]:
    monkeypatch.setattr(credentials, "LOOK_PERIOD", 0.1)
    async with request.param() as logins:
        await logins.give("app", CANARIES["vault"])
        yield logins


@asynccontextmanager
async def running(
    vault: OpenBaoServer, logins: Logins, folder: Path, known: KnownSecrets, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Silo]:
    vault.write("shop", password=CANARIES["vault"])
    role_id, secret_id = vault.make_approle("shop", POLICY)
    (folder / "secret-id").write_text(secret_id)
    (folder / "token").write_text(CANARIES["file"])
    url = logins.url("app", "PASSWORD").replace("PASSWORD", "${vault:secret/shop#password}")
    options = {
        "GRANGE_STORAGE": url, "GRANGE_MEMBERSHIP": url, "GRANGE_ADMIN_TOKEN": f"${{file:{folder / 'token'}}}",
        "GRANGE_VIEWER_TOKEN": "${env:VIEWER}", "GRANGE_OPERATOR_TOKEN": CANARIES["literal"],
        "GRANGE_VAULT__ADDRESS": vault.url, "GRANGE_VAULT__ROLE_ID": role_id,
        "GRANGE_VAULT__SECRET_ID": f"${{file:{folder / 'secret-id'}}}", "GRANGE_VAULT__REFRESH": "0.1",
        "VIEWER": CANARIES["env"],
    }  # fmt: skip
    for name, value in options.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    silo = Silo(grains=[Counter], port=0, gateway_port=0, http=0, keep_logs=True, known_secrets=known)
    async with silo:
        yield silo


async def until_replaced(logins: Logins, before: set[tuple[str, str]]) -> None:
    async with asyncio.timeout(30):
        while before & await logins.sessions():
            await asyncio.sleep(0.05)


async def test_a_password_in_vault_is_rotated_while_a_silo_runs(
    logins: Logins, tmp_path: Path, known: KnownSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9: under load no write fails, and none is lost; the order of the changes does not matter."""
    counts = [0] * 4
    with OpenBaoServer() as vault:
        async with running(vault, logins, tmp_path, known, monkeypatch) as silo:
            done = asyncio.Event()

            async def load(number: int) -> None:
                counter = silo.get_grain(Counter, str(number))
                while not done.is_set():
                    counts[number] = await counter.add()

            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                for number in range(len(counts)):
                    group.create_task(load(number))
                for number in range(3):
                    before, password = await logins.sessions(), f"canary-{number}-rotated"
                    changes = [lambda it=password: logins.give("app", it), lambda it=password: written(vault, it)]
                    for change in changes if number % 2 else reversed(changes):
                        await change()
                    await until_replaced(logins, before)
                done.set()
            for number, count in enumerate(counts):
                assert await silo.get_grain(Counter, str(number)).add() == count + 1
            figures = silo.inspection.figures.snapshot().secrets
            assert figures.failed == {}


async def written(vault: OpenBaoServer, password: str) -> None:
    await asyncio.to_thread(vault.write, "shop", password=password)


async def test_no_secret_is_shown_anywhere(
    logins: Logins, tmp_path: Path, known: KnownSecrets, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9: canaries in each place, and a search in all that a silo and its commands show."""
    shown: dict[str, str] = {}
    with OpenBaoServer() as vault:
        async with running(vault, logins, tmp_path, known, monkeypatch) as silo:
            counter = silo.get_grain(Counter, "ann")
            assert await counter.add() == 1
            await logins.give("app", CANARIES["rotated"])
            vault.write("shop", password=CANARIES["rotated"])
            async with asyncio.timeout(30):
                while not any("credentials_replaced" in line for line in lines.written):
                    await asyncio.sleep(0.05)
            await counter.tell(CANARIES["rotated"])
            await until_refused(vault, logins, silo, shown)
            vault.kill()
            await asyncio.sleep(0.5)  # some looks find it gone
            await until_it_counts(silo)
            shown |= await asyncio.to_thread(pages, silo.http)
            async with Client([silo.gateway], token=CANARIES["file"]) as client:
                shown["setup"] = repr(await client.ask(client.gateways[0], SETUP))
                shown["client"] = repr(client) + repr(vars(client))
            shown["events"] = repr(silo._here("").ports.events.after(0, 5000))
            shown["silo"] = repr(silo) + repr(silo.definition()) + repr(silo.definition().config)
            shown["parts"] = repr(silo._here("")) + repr(vars(silo))
            for command in ("config show --json", "config show --all", "config check", "doctor --json", "doctor"):
                result = await asyncio.to_thread(CliRunner().invoke, main, command.split())
                shown[command] = result.output + repr(result.exception)
    shown["log"], shown["raw log"] = "\n".join(lines.written), "\n".join(lines.raw)
    for expected in ("secret_refused", "secret_unread", "credentials_replaced", "login with '***' failed"):
        assert expected in shown["log"], expected
    assert "${vault:secret/shop#password}" in shown["config show --json"]
    assert "grange_secrets_unread" in shown["/metrics"]
    secrets = {**CANARIES, "secret id": (tmp_path / "secret-id").read_text(), "any": "canary"}
    assert [(place, name) for place, text in shown.items() for name, each in secrets.items() if each in text] == []


async def until_refused(vault: OpenBaoServer, logins: Logins, silo: Silo, shown: dict[str, str]) -> None:
    """Let the secret be wrong, end the sessions, and keep the errors of the operations; then correct it."""
    secrets = silo._here("").inspection.figures._secrets
    assert secrets is not None
    vault.write("shop", password=CANARIES["wrong"])
    await logins.give("app", CANARIES["elsewhere"])
    await end_sessions(logins)
    async with asyncio.timeout(30):
        while not (secrets.figures.refused and "error" in shown):
            try:
                await silo.get_grain(Counter, "ann").add()
            except (StorageUnavailable, WriteOutcomeUnknown) as error:
                shown["error"] = shown.get("error", "") + str(error) + repr(error.__cause__)
            await asyncio.sleep(0.02)
    await logins.give("app", CANARIES["rotated"])
    vault.write("shop", password=CANARIES["rotated"])
    await until_it_counts(silo)


async def until_it_counts(silo: Silo) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await silo.get_grain(Counter, "ann").add()
                return
            except (StorageUnavailable, WriteOutcomeUnknown):
                await asyncio.sleep(0.1)


def pages(place: str) -> dict[str, str]:
    """What the admin port answers, logged in as an admin."""
    with closing(http.client.HTTPConnection(place, timeout=20)) as connection:
        return _pages(connection)


def _pages(connection: http.client.HTTPConnection) -> dict[str, str]:
    def ask(method: str, path: str, body: Any = None, **headers: str) -> tuple[str, str]:
        sent = {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin", **headers}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status in (200, 204), (path, answer.status, text)
        return text, answer.getheader("Set-Cookie", "")

    cookie = ask("POST", "/api/login", {"token": CANARIES["file"]})[1].partition(";")[0]
    routes = (
        "/metrics", "/readyz", "/api/me", "/api/silos", "/api/types", "/api/activations", "/api/membership",
        "/api/events?limit=500", "/api/logs?level=0&limit=500", "/api/health", "/api/audit",
    )  # fmt: skip
    found = {path: ask("GET", path, Cookie=cookie)[0] for path in routes}
    name = json.loads(found["/api/silos"])["silos"][0]["name"]
    return {**found, "silo": ask("GET", f"/api/silos/{name}", Cookie=cookie)[0]}
