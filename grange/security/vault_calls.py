"""The questions to a Vault server, by hvac, which blocks: `vault.py` runs each in a thread. The one file with hvac."""

from __future__ import annotations

import threading
from typing import Any, cast
from urllib.parse import quote

import hvac
import hvac.exceptions
import msgspec

from grange.errors import ConfigurationError, SecretUnavailable
from grange.security.vault_options import VaultOptions

_PASSING = (
    hvac.exceptions.InternalServerError,
    hvac.exceptions.BadGateway,
    hvac.exceptions.VaultDown,
    hvac.exceptions.VaultNotInitialized,
    hvac.exceptions.RateLimitExceeded,
    hvac.exceptions.PreconditionFailed,
)
"""Errors of a server that is sealed, starts, is busy or has lost its store: they pass without a change of options."""


class Denied(SecretUnavailable):
    """Vault refused the token: it has ended, was revoked, or has no right to the path."""


class Answer(msgspec.Struct, frozen=True):
    """The fields of one path, and the lease. Without an id it has none, and without seconds it does not end.

    Its fields are secrets, so `repr` hides them.
    """

    fields: dict[str, str]
    lease_id: str = ""
    seconds: float = 0.0
    renewable: bool = False

    def __repr__(self) -> str:
        return f"Answer({self.seconds})"


class VaultCalls:
    """One client of one server. `login` first. Any thread may call it; the calls wait for each other."""

    def __init__(self, options: VaultOptions) -> None:
        """`options` without references. Asks nothing."""
        self._options = options
        self._lock = threading.Lock()
        self._mounts: dict[str, bool] = {}
        # The token is given, because hvac would look for one in the environment and in the home folder.
        self._client: Any = cast(Any, hvac.Client)(
            url=options.address, token="", verify=options.ca or True, timeout=options.timeout,
            namespace=options.namespace or None,
        )  # fmt: skip

    def login(self, service_account: str) -> Answer:
        """Log in, and return the lease of the token. `service_account`: the token of Kubernetes, for that way."""
        options = self._options
        mount = options.mount or options.auth
        with self._lock:
            body = (
                {"role_id": options.role_id, "secret_id": options.secret_id}
                if options.auth == "approle"
                else {"role": options.role, "jwt": service_account}
            )
            answer = self._ask("post", f"auth/{mount}/login", "its login by " + options.auth, body)
            self._client.token = answer["auth"]["client_token"]
            return _lease_of(answer["auth"])

    def renew_token(self) -> Answer:
        """Renew the lease of the token."""
        with self._lock:
            return _lease_of(self._ask("post", "auth/token/renew-self", "the renewal of its token")["auth"])

    def read(self, path: str) -> Answer:
        """The fields of a path, by version 1 or 2 of the KV engine or another engine that is read with GET."""
        with self._lock:
            mount = self._mount_of(path)
            is_kv2 = self._mounts[mount]
            place = f"{mount}data/{path[len(mount) :]}" if is_kv2 else path
            answer = self._ask("get", place, f"the path {path!r}")
        data: Any = answer.get("data") or {}
        fields: dict[str, Any] = (data.get("data") or {}) if is_kv2 else data
        lease = _lease_of(answer)
        return msgspec.structs.replace(lease, fields={name: _text(value) for name, value in fields.items()})

    def renew(self, lease_id: str) -> Answer:
        """Renew the lease of a secret."""
        with self._lock:
            return _lease_of(self._ask("put", "sys/leases/renew", "the renewal of a lease", {"lease_id": lease_id}))

    def close(self) -> None:
        """Give the token back, if the server answers, and close the connections."""
        with self._lock:
            try:
                if self._client.token:
                    self._ask("post", "auth/token/revoke-self", "the end of its token")
            except (SecretUnavailable, ConfigurationError):
                pass  # it ends with its lease
            self._client.adapter.close()

    def forget(self) -> None:
        """Close the connections; the token stays until its lease ends."""
        self._client.adapter.close()

    def _mount_of(self, path: str) -> str:
        """The mount that a path begins with, and in `_mounts` whether it is version 2 of the KV engine."""
        for mount in self._mounts:
            if path.startswith(mount):
                return mount
        data: Any = self._ask("get", f"sys/internal/ui/mounts/{path}", f"the path {path!r}")["data"]
        mount = str(data["path"])
        version: object = cast("dict[str, Any]", data.get("options") or {}).get("version")
        self._mounts[mount] = data.get("type") == "kv" and str(version) == "2"
        return mount

    def _ask(self, method: str, path: str, what: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        """One question. No error shows the answer, the body or the token."""
        place = f"Vault at {self._options.address}"
        try:
            answer = self._client.adapter.request(method, f"/v1/{quote(path)}", json=body)
        except hvac.exceptions.Forbidden:
            raise Denied(f"{place} refuses {what}: permission denied; see the policy of the role") from None
        except hvac.exceptions.InvalidPath:
            raise ConfigurationError(f"{place} has nothing at {what}") from None
        except _PASSING as error:
            raise SecretUnavailable(f"{place} does not answer {what}: {type(error).__name__}") from None
        except hvac.exceptions.VaultError as error:  # of a login: a wrong role or secret
            raise Denied(f"{place} refuses {what}: {type(error).__name__}; see the options of [vault]") from None
        except OSError as error:  # the errors of requests are OSErrors, too
            kind = type(error).__name__
            remedy = "; if its certificate is not trusted, name the CA by the option vault.ca" * (kind == "SSLError")
            raise SecretUnavailable(f"{place} cannot be reached for {what}: {kind}{remedy}") from None
        return cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}


def _lease_of(answer: dict[str, Any]) -> Answer:
    return Answer(
        {}, str(answer.get("lease_id") or ""), float(answer.get("lease_duration") or 0), bool(answer.get("renewable"))
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
