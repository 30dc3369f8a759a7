"""Every option of a silo: from keywords, then the environment (`GRANGE_…`), then `grange.toml`.

The options of other rooms are nested tables: `runtime`, `membership_options`, `directory`, `transport`,
`storage_options`; in the environment `GRANGE_RUNTIME__IDLE_TIMEOUT=60`. A secret may come from a file:
`GRANGE_STORAGE_FILE=/run/secrets/storage-url`. `option_sources.py` reads them, `option_values.py` says what is allowed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import msgspec
import pydantic
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from grange.databases.urls import SecretUrl, sqlite_url
from grange.directory.options import DirectoryOptions
from grange.errors import ConfigurationError, OptionError
from grange.membership.model.member import REVISION
from grange.membership.model.options import MembershipOptions
from grange.placement.options import PlacementOptions
from grange.placement.versions import VersionOptions
from grange.reminders.options import ReminderOptions
from grange.runtime.options import RuntimeOptions
from grange.security.options import TlsOptions
from grange.security.references import Reference, escaped, has_references
from grange.security.rule import Rule, read_rules
from grange.security.vault_options import VaultOptions
from grange.silo.audit_options import check_audit
from grange.silo.dashboard_options import DashboardOptions
from grange.silo.option_checks import check_together
from grange.silo.option_errors import converted, explained, paths_of, unknown_option
from grange.silo.option_sources import EnvironmentSource, TomlSource, files_of, origin_of
from grange.silo.option_tables import table_of
from grange.silo.option_values import (
    Enforcement,
    Folder,
    Host,
    HttpPort,
    Names,
    Port,
    Revision,
    Road,
    Roles,
    Rules,
    Seconds,
    Text,
    Token,
    Url,
    Urls,
    Word,
)
from grange.silo.shown_options import shown_option
from grange.storage.options import StorageOptions
from grange.transport.listening import CannotListen
from grange.transport.options import TransportOptions

OptionsType = TypeVar("OptionsType", bound=msgspec.Struct)


class SiloConfig(BaseSettings):
    """The options of a silo: its ports, its cluster, its stores, and the options of each room.

    The defaults make an embedded silo: loopback only, membership and state in SQLite files in the folder `.grange`.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    cluster: Word = "default"
    """Name of the cluster; silos and clients of another name are refused."""
    service: Word = "default"
    """Name of the application in storage; it outlives clusters (blue and green share one service)."""
    name: Text = ""
    """Name of this silo for people; default: host and port."""
    host: Host = "127.0.0.1"
    """Address to listen on. An address other than loopback needs TLS (`tls`), or `insecure`."""
    advertise: Host = ""
    """Host by which others reach this silo, if not `host` (containers). It must not be a wildcard."""
    port: Port = 11111
    """Port for other silos; 0 picks a free one."""
    gateway_port: Port = 30000
    """Port for clients; 0 picks a free one."""
    probe_port: Port = 0
    """Port that answers other silos' probes, also while a turn blocks the event loop; 0 picks a free one."""
    road: Road = "grpc"
    """How connections are carried: `grpc`, or `tcp` for plain sockets, which are faster, between silos and clients that
    all have it. Others are reached, and reach this silo, by gRPC.
    """
    road_port: Port = 0
    """Port for other silos by plain sockets, with `road = "tcp"`; 0 picks a free one."""
    gateway_road_port: Port = 0
    """Port for clients by plain sockets, with `road = "tcp"`; 0 picks a free one."""
    http: HttpPort = "off"
    """Port for the probes of a supervisor, `/metrics` and the dashboard; 0 picks a free one, `off` opens none. The
    default of `grange run` is 8080.
    """
    http_host: Host = ""
    """Address on which the port of `http` listens; default: `host`."""
    http_hosts: Names = ()
    """Further names by which programs and browsers reach the port of `http`. It answers to these, to `host`,
    `advertise`, `localhost` and every address; another name may be an attack by a foreign page.
    """
    data: Folder = Path(".grange")
    """Folder of the embedded databases."""
    membership: Url = ""
    """URL of the membership table; default: SQLite in the data folder."""
    storage: Url = ""
    """URL of the default storage; default: SQLite in the data folder."""
    storages: Urls = {}
    """Further storages by name, for `Stored(provider=...)`. The name `default` means the same as `storage`."""
    labels: Names = ()
    """Words of your choice about this silo, for placement."""
    revision: Revision = 0
    """Number of the application's revision, rising with each roll-out; 0 for none. New grains go to the silos of the
    newest revision while silos of two are active. It is in the labels as `revision=7`.
    """
    insecure: bool = False
    """Allow a public address while connections without TLS are accepted."""
    admin_token: Token = ""
    """Secret of clients that may do everything in management: also call methods, and declare a silo dead. Without any
    token, the silo reads or makes the file `admin-token` in the data folder, which `grange` commands beside it find.
    """
    operator_token: Token = ""
    """Secret of clients that may act: deactivate, drain, cordon, set log levels."""
    viewer_token: Token = ""
    """Secret of clients that may only read in management."""
    allow: Rules = ()
    """Who may call what: tables `[[allow]]` with `who` and `call`. With one or more, a call that none allows is
    refused as Unauthorized."""
    authorization: Enforcement = "enforce"
    """What becomes of calls that `allow`, `@requires` or `authorize=` do not allow: `enforce` refuses them, `audit`
    lets them run, and reports them as `authorization_would_refuse`."""
    roles: Roles = {}
    """Roles by subject, such as `"spiffe://shop/client/web" = ["customer"]`: of certificates, and of the users whom
    `authenticate=` names. The roles `viewer`, `operator` and `admin` are those of management.
    """
    audit: Url = ""
    """URL of a database with a table of the audit (`sqlite:///…`, `postgresql://…`); default: only log and memory."""
    audit_required: bool = False
    """Whether acts and `@audited` calls are refused, and not executed, while that table takes no row before them."""
    drain_timeout: Seconds = 60.0
    """Seconds for running calls to complete when the silo stops."""
    actions: Names = (
        "deactivate", "collect", "cordon", "uncordon", "drain", "log level", "dump tasks", "move",
        "suspend rebalancing", "resume rebalancing", "version rules", "cancel reminder", "retry reminder",
    )  # fmt: skip
    """What operators and admins may do, by its name. `call` and `declare dead` are off by default; `*` allows all, as
    `grange dev` does."""
    redact: Names = ()
    """Parts of stored states that management shows as `***`, by the name of the state and the path inside it, with
    `*` for any name: `*.password`, `cart.items.*.price`. Names that look like secrets are never shown."""
    exit_on_dead_loop: bool = False
    """Whether the process ends by itself, with exit code 7, when its event loop has been dead for `dead_loop_after`.
    The default of `grange run` is true; a silo inside a program of yours only logs the alarm `loop_dead`.
    """
    keep_logs: bool = False
    """Whether the newest 2,000 log lines of the process are kept in memory, for `grange logs` and the dashboard. The
    levels of the loggers decide which lines there are. The default of `grange run` is true; `http` implies it.
    """
    runtime: dict[str, Any] = {}
    """Options of calls and activations: `RuntimeOptions`."""
    membership_options: dict[str, Any] = {}
    """Options of the membership protocol: `MembershipOptions`."""
    directory: dict[str, Any] = {}
    """Options of the grain directory: `DirectoryOptions`."""
    transport: dict[str, Any] = {}
    """Options of connections: `TransportOptions`."""
    storage_options: dict[str, Any] = {}
    """Options of storage providers: `StorageOptions`."""
    placement_options: dict[str, Any] = {}
    """Options of placement and of the rebalancer: `PlacementOptions`."""
    secrets_stale: Seconds = 3600.0
    """Seconds for which the last good value of a secret, such as `${vault:secret/shop#password}`, is used while it
    cannot be read. After that, no new connection is made with it.
    """
    vault: dict[str, Any] = {}
    """How secrets are read from Vault: `VaultOptions`."""
    dashboard: dict[str, Any] = {}
    """Users of the dashboard: `DashboardOptions`."""
    versions: dict[str, Any] = {}
    """Which versions of an interface serve a caller: `VersionOptions`."""
    tls: dict[str, Any] = {}
    """Certificates, and which ports use TLS: `TlsOptions`."""
    reminders: dict[str, Any] = {}
    """Where reminders are kept, and how they are delivered: `ReminderOptions`."""

    _keywords: frozenset[tuple[str, ...]] = pydantic.PrivateAttr(default_factory=frozenset)
    _templates: dict[tuple[str, ...], str] = pydantic.PrivateAttr(default_factory=dict)
    _secrets: object = pydantic.PrivateAttr(default=None)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            fields = type(self).model_fields
            raise explained(error, fields, lambda path: origin_of(fields, path, paths_of(values)), table_of) from None
        self._keywords = frozenset(paths_of(values))
        files = files_of(type(self).model_fields, self._keywords)
        self._templates = {path: str(Reference("file", str(file))) for path, file in files.items()}
        for check in (
            self.runtime_options, self.membership_settings, self.directory_options, self.transport_options,
            self.storage_settings, self.placement_settings, self.dashboard_options, self.version_options,
            self.reminder_settings, self.tls_options, self.vault_options,
        ):  # fmt: skip
            check()
        check_together(self)
        check_audit(self)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """pydantic-settings: the order of the sources; the first that has a value wins."""
        return init_settings, EnvironmentSource(settings_cls), TomlSource(settings_cls)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """pydantic: the options for `repr`, without tokens and passwords; references to secrets as they are written."""
        for name, value in super().__repr_args__():
            if name is not None:
                yield name, shown_option(name, value, self._templates)

    def filled(self, values: Mapping[str, Any], secrets: object, templates: Mapping[tuple[str, ...], str]) -> Self:
        """This configuration with other values of these options, in which secrets are filled in, and checked again.

        `templates` are what stood there, by the path of names of each text; it is shown in place of the values.
        `secrets` reads them again. Raises OptionError, which may show a value.
        """
        made = type(self)(**{**self.model_dump(), **{name: escaped(value) for name, value in values.items()}})
        for name, value in values.items():
            if has_references(value):  # it looks like a reference, and is none: it must not be read as one
                vars(made)[name] = tuple(cast("Sequence[Any]", value)) if isinstance(value, list) else value
        made._keywords = self._keywords
        made._templates = {**self._templates, **templates}
        made._secrets = secrets
        return made

    @property
    def templates(self) -> Mapping[tuple[str, ...], str]:
        """The options that secrets are filled into, by the path of their names: the texts with references to them.

        An option that a variable of the environment reads from a file is a reference to that file.
        """
        return self._templates

    @contextmanager
    def naming(self, *path: str, host: str = "host") -> Generator[None]:
        """Let a ConfigurationError inside the `with` name this option, and its variable or file.

        For a port that cannot be opened, that is the option `host` (or the given one) if the host is at fault.
        """
        try:
            yield
        except OptionError:
            raise
        except ConfigurationError as error:
            is_host_wrong = isinstance(error, CannotListen) and error.is_host_wrong
            raise self.wrong((host,) if is_host_wrong else path, str(error)) from error

    def wrong(self, path: tuple[str, ...], problem: str) -> OptionError:
        """The error for an option of this configuration, given as its path of names."""
        return OptionError(".".join(path), problem, self._origin(path))

    def source_of(self, path: tuple[str, ...]) -> str:
        """Where the value of an option, given as its path of names, comes from; empty for its default."""
        if path in self._keywords:
            return "the code"
        return self._origin(path, exact=True)

    def _origin(self, path: tuple[str, ...], exact: bool = False) -> str:
        return origin_of(type(self).model_fields, path, self._keywords, exact)

    @property
    def membership_url(self) -> str:
        """URL of the membership table; the embedded default is filled in, and the file that it was read from added."""
        return self._url(("membership",), self.membership) or sqlite_url(self.data / "cluster.db")

    @property
    def storage_urls(self) -> dict[str, str]:
        """URLs of all storages by name, as `membership_url`; the default storage is named "default"."""
        default = self._url(("storage",), self.storage) or sqlite_url(self.data / "state.db")
        return {"default": default, **{name: self._url(("storages", name), url) for name, url in self.storages.items()}}

    @property
    def audit_url(self) -> str:
        """URL of the table of the audit, as `membership_url`; empty: there is none."""
        return self._url(("audit",), self.audit)

    def _url(self, path: tuple[str, ...], url: str) -> str:
        template = self._templates.get(path)
        return url if not url or template is None else SecretUrl.of(url, template, self._secrets)

    def storage_option(self, name: str) -> tuple[str, ...]:
        """The option, as a path of names, that gives the URL of the storage `name`."""
        if name in self.storages:
            return "storages", name
        return ("storage",) if self.storage else ("data",)

    @property
    def membership_option(self) -> str:
        """The option that gives the place of the membership table."""
        return "membership" if self.membership else "data"

    @property
    def public_host(self) -> str:
        """The host in this silo's address."""
        return self.advertise or self.host

    @property
    def admin_host(self) -> str:
        """The address on which the port of `http` listens."""
        return self.http_host or self.host

    def runtime_options(self) -> RuntimeOptions:
        """The options of the runtime. Raises ConfigurationError naming a wrong key."""
        return self._options("runtime", self.runtime, RuntimeOptions)

    def membership_settings(self) -> MembershipOptions:
        """The options of membership. Raises ConfigurationError naming a wrong key."""
        return self._options("membership_options", self.membership_options, MembershipOptions)

    def directory_options(self) -> DirectoryOptions:
        """The options of the directory. Raises ConfigurationError naming a wrong key."""
        return self._options("directory", self.directory, DirectoryOptions)

    def transport_options(self) -> TransportOptions:
        """The options of the transport. Raises ConfigurationError naming a wrong key."""
        return self._options("transport", self.transport, TransportOptions)

    def storage_settings(self) -> StorageOptions:
        """The options of storage. Raises ConfigurationError naming a wrong key."""
        return self._options("storage_options", self.storage_options, StorageOptions)

    def placement_settings(self) -> PlacementOptions:
        """The options of placement. Raises ConfigurationError naming a wrong key."""
        return self._options("placement_options", self.placement_options, PlacementOptions)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of the option `allow`."""
        return read_rules(self.allow)

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The labels of the silo, with that of its revision."""
        return (*self.labels, f"{REVISION}={self.revision}") if self.revision else self.labels

    def dashboard_options(self) -> DashboardOptions:
        """The options of the dashboard. Raises ConfigurationError naming a wrong key."""
        return self._options("dashboard", self.dashboard, DashboardOptions)

    def vault_options(self) -> VaultOptions:
        """The options of Vault. Raises ConfigurationError naming a wrong key."""
        return self._options("vault", self.vault, VaultOptions)

    def version_options(self) -> VersionOptions:
        """The rules for versions of interfaces. Raises ConfigurationError naming a wrong key."""
        return self._options("versions", self.versions, VersionOptions)

    def reminder_settings(self) -> ReminderOptions:
        """The options of reminders. Raises ConfigurationError naming a wrong key."""
        return self._options("reminders", self.reminders, ReminderOptions)

    def tls_options(self) -> TlsOptions:
        """The options of TLS. Raises ConfigurationError naming a wrong key."""
        return self._options("tls", self.tls, TlsOptions)

    def _options(self, table: str, values: Mapping[str, Any], kind: type[OptionsType]) -> OptionsType:
        known = set(kind.__struct_fields__)
        for name in sorted(set(values) - known):
            other = table_of(name)
            place = f"in the table {other!r}" if other else ""
            if name in type(self).model_fields:
                place = "at the top, before and outside of any table"
            raise unknown_option((table, name), known, self._origin((table, name)), place)
        try:
            return converted(values, kind, lambda name, problem: self.wrong((table, *name), problem))
        except OptionError:
            if not has_references(values):  # it is checked when its secrets are filled in
                raise
            return kind()
