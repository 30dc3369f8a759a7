"""The options of Vault: the table `[vault]`."""

from __future__ import annotations

import msgspec

from grange.errors import ConfigurationError
from grange.option_ranges import OutOfRange, check_ranges, values_and_defaults

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


class VaultOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a silo reaches Vault, or OpenBao, which speaks the same protocol. Used if an option has `${vault:…}`."""

    address: str = ""
    """URL of the server, such as `https://vault.internal:8200`."""

    namespace: str = ""
    """Namespace in Vault Enterprise or OpenBao; empty for none."""

    auth: str = "approle"
    """How the silo logs in: `approle`, with `role_id` and `secret_id`, or `kubernetes`, with `role` and the token of
    the service account of its pod.
    """

    mount: str = ""
    """Path where the way to log in is mounted in Vault; default: its name."""

    role_id: str = ""
    """The id of the AppRole. It is no secret by itself."""

    secret_id: str = ""
    """The secret of the AppRole. Give it as `${file:/run/secrets/secret-id}`: it is read again for each login."""

    role: str = ""
    """The role in Vault that the Kubernetes service account has."""

    service_account: str = SERVICE_ACCOUNT
    """File with the token of the service account. Kubernetes replaces its content, so it is read for each login."""

    ca: str = ""
    """File with the certificates that the server's certificate is checked against; default: those of the system."""

    refresh: float = 30.0
    """Seconds for which a secret without a lease, such as one of the KV engine, is used without a new question. A
    password that a store refuses is asked for at once.
    """

    timeout: float = 5.0
    """Seconds that one question may take."""

    def __post_init__(self) -> None:
        check_ranges("vault", *values_and_defaults(self))
        if self.auth not in ("approle", "kubernetes"):
            raise OutOfRange(f"vault option auth must be 'approle' or 'kubernetes', not {self.auth!r:.100}")
        if self.address and not self.address.startswith(("https://", "http://", "${")):
            raise OutOfRange("vault option address must begin with https://, or with http:// on a network of its own")

    def check(self) -> None:
        """Raise ConfigurationError unless a login is possible with these. Called when the first secret is read."""
        needed = ("address", "role_id", "secret_id") if self.auth == "approle" else ("address", "role")
        for name in needed:
            if not getattr(self, name):
                variable = f"GRANGE_VAULT__{name.upper()}"
                raise ConfigurationError(f"${{vault:…}} by {self.auth} needs the option vault.{name} ({variable})")

    def __repr__(self) -> str:
        return f"VaultOptions({self.address!r}, {self.auth!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("address", self.address), ("auth", self.auth)]
