"""Every option of a silo: from keywords, then the environment (`GRANGE_…`), then `grange.toml`.

The options of other rooms are nested tables: `runtime`, `membership_options`, `directory`, `transport`,
`storage_options`; in the environment `GRANGE_RUNTIME__IDLE_TIMEOUT=60`. A secret may come from a file:
`GRANGE_STORAGE_FILE=/run/secrets/storage-url`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import pydantic
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from grange.directory.options import DirectoryOptions
from grange.errors import ConfigurationError
from grange.membership.model.options import MembershipOptions
from grange.runtime.options import RuntimeOptions
from grange.storage.options import StorageOptions
from grange.transport.options import TransportOptions

OptionsType = TypeVar("OptionsType")

PREFIX = "GRANGE_"
"""Prefix of every environment variable that sets an option."""

_TOML = Path("grange.toml")


class SiloConfig(BaseSettings):
    """The options of a silo: its ports, its cluster, its stores, and the options of each room.

    The defaults make an embedded silo: loopback only, membership and state in SQLite files in the folder `.grange`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    cluster: str = "default"
    """Name of the cluster; silos and clients of another name are refused."""
    service: str = "default"
    """Name of the application in storage; it outlives clusters (blue and green share one service)."""
    name: str = ""
    """Name of this silo for people; default: host and port."""
    host: str = "127.0.0.1"
    """Address to listen on. An address other than loopback needs `insecure`, because there is no TLS yet."""
    advertise: str = ""
    """Host by which others reach this silo, if not `host` (containers). It must not be a wildcard."""
    port: int = pydantic.Field(default=11111, ge=0, le=65535)
    """Port for other silos; 0 picks a free one."""
    gateway_port: int = pydantic.Field(default=30000, ge=0, le=65535)
    """Port for clients; 0 picks a free one."""
    probe_port: int = pydantic.Field(default=0, ge=0, le=65535)
    """Port that answers other silos' probes, also while a turn blocks the event loop; 0 picks a free one."""
    data: Path = Path(".grange")
    """Folder of the embedded databases."""
    membership: str = ""
    """URL of the membership table; default: SQLite in the data folder."""
    storage: str = ""
    """URL of the default storage; default: SQLite in the data folder."""
    storages: dict[str, str] = {}
    """Further storages by name, for `Stored(provider=...)`."""
    labels: tuple[str, ...] = ()
    """Words of your choice about this silo, for placement."""
    insecure: bool = False
    """Allow a public address without TLS and authentication."""
    drain_timeout: float = pydantic.Field(default=60.0, gt=0)
    """Seconds for running calls to complete when the silo stops."""
    exit_on_dead_loop: bool = False
    """Whether the process ends by itself, with exit code 7, when its event loop has been dead for `dead_loop_after`.
    The default of `grange run` is true; a silo inside a program of yours only logs the alarm `loop_dead`.
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

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            raise ConfigurationError(_explain(error)) from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"the configuration cannot be read: {_TOML} is not TOML: {error}") from None
        except SettingsError as error:  # a variable that is not JSON; only the text of the error names the field
            field = re.search(r'field "(\w+)"', str(error))
            name = f"{PREFIX}{field[1].upper()}" if field else str(error)
            raise ConfigurationError(
                f"the environment variable {name} must be JSON, such as {PREFIX}LABELS='[\"ssd\"]': {error.__cause__}"
            ) from None
        except ValueError as error:
            raise ConfigurationError(f"the configuration cannot be read: {error}") from None
        for check in (
            self.runtime_options, self.membership_settings, self.directory_options, self.transport_options,
            self.storage_settings, self._check_address,
        ):  # fmt: skip
            check()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """pydantic-settings: the order of the sources; the first that has a value wins."""
        files = _FilesSource(settings_cls)
        return init_settings, env_settings, files, TomlConfigSettingsSource(settings_cls, _TOML)

    @property
    def membership_url(self) -> str:
        """URL of the membership table; the embedded default is filled in."""
        return self.membership or f"sqlite:///{(self.data / 'cluster.db').as_posix()}"

    @property
    def storage_urls(self) -> dict[str, str]:
        """URLs of all storages by name; the default storage is named "default"."""
        default = self.storage or f"sqlite:///{(self.data / 'state.db').as_posix()}"
        return {**self.storages, "default": default}

    @property
    def public_host(self) -> str:
        """The host in this silo's address."""
        return self.advertise or self.host

    def runtime_options(self) -> RuntimeOptions:
        """The options of the runtime. Raises ConfigurationError naming a wrong key."""
        return _options("runtime", self.runtime, RuntimeOptions)

    def membership_settings(self) -> MembershipOptions:
        """The options of membership. Raises ConfigurationError naming a wrong key."""
        return _options("membership_options", self.membership_options, MembershipOptions)

    def directory_options(self) -> DirectoryOptions:
        """The options of the directory. Raises ConfigurationError naming a wrong key."""
        return _options("directory", self.directory, DirectoryOptions)

    def transport_options(self) -> TransportOptions:
        """The options of the transport. Raises ConfigurationError naming a wrong key."""
        return _options("transport", self.transport, TransportOptions)

    def storage_settings(self) -> StorageOptions:
        """The options of storage. Raises ConfigurationError naming a wrong key."""
        return _options("storage_options", self.storage_options, StorageOptions)

    def _check_address(self) -> None:
        if self.public_host in ("0.0.0.0", "::", ""):
            raise ConfigurationError(
                f"host={self.host!r} is a wildcard, which nothing can connect to; set advertise= to this silo's host"
            )
        if not self.insecure and not (_is_loopback(self.host) and _is_loopback(self.public_host)):
            raise ConfigurationError(
                f"host={self.host!r} is not loopback and traffic is not encrypted or authenticated; "
                "use a network that only the cluster reaches and set --insecure (insecure=True), or stay on 127.0.0.1"
            )


class _FilesSource(PydanticBaseSettingsSource):
    """Values from files: `GRANGE_<OPTION>_FILE` names a file with the value, to keep secrets out of the environment."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except OSError as error:
            raise ConfigurationError(f"{PREFIX}{field_name.upper()}_FILE names {path!r}: {error.strerror}") from None

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


def _options(table: str, values: Mapping[str, Any], kind: type[OptionsType]) -> OptionsType:
    description = cast("Any", msgspec.inspect.type_info(kind))
    known = {field.name for field in description.fields}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigurationError(f"unknown option {table}.{unknown[0]}; known are {', '.join(sorted(known))}")
    try:
        return msgspec.convert(dict(values), kind, strict=False)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ConfigurationError):
            raise error.__cause__ from None
        raise ConfigurationError(f"option {table}: {error}") from None


def _explain(error: pydantic.ValidationError) -> str:
    lines: list[str] = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = ", ".join(sorted(SiloConfig.model_fields))
            lines.append(f"unknown option {key!r}; known are {known}")
        else:
            lines.append(f"option {key!r}: {problem['msg']}, not {problem['input']!r}")
    return "; ".join(lines)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
