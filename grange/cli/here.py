"""This machine's silo, as far as a client needs its configuration: cluster, gateway and membership table.

`SiloConfig` takes longer to import than a question to a cluster takes. So `plain_here` reads by itself what is plain to
read: single values in the environment or in `grange.toml` that are surely right. It leaves the rest to `SiloConfig`
(`configured_here.py`), which also says what is wrong: tables, lists, files, names that no option has.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from grange.admin_token import check_token
from grange.databases.urls import sqlite_url
from grange.errors import ConfigurationError, OptionError

PREFIX = "GRANGE_"
TOML = Path("grange.toml")

TOKENS = ("admin_token", "operator_token", "viewer_token")
"""The options with tokens, that of the highest role first."""

LARGEST_FILE = 65_536
"""Bytes of `grange.toml` that are read here at most."""

_HOST_NAME = re.compile(r"[A-Za-z][A-Za-z0-9.-]{0,200}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")
_URL = re.compile(r"(sqlite|redis|rediss|postgresql|memory)://[!-~]*")


class Here(msgspec.Struct, frozen=True):
    """The options of this machine's silo. `membership` is empty if `membership_url` is the embedded default.

    `option` gives the place of the membership table, `origin` is its variable or file. `token` is the one of the
    highest role that is configured; a secret, so `repr` hides it. `tls` has the files of TLS, by their options, and
    `scheme` is that of the admin port. `audit` is the URL of the table of the audit.
    """

    cluster: str
    host: str
    gateway_port: int
    membership: str
    membership_url: str
    option: str
    origin: str
    data: str
    token: str = ""
    tls: Mapping[str, str] = {}
    scheme: str = "http"
    audit: str = ""

    def __repr__(self) -> str:
        return f"Here({self.cluster!r}, {self.host!r}, {self.gateway_port})"

    @contextmanager
    def naming(self) -> Generator[None]:
        """Let a ConfigurationError inside the `with` name the option of the membership table."""
        try:
            yield
        except OptionError:
            raise
        except ConfigurationError as error:
            raise OptionError(self.option, str(error), self.origin) from error


def plain_here(given: Mapping[str, str]) -> Here | None:
    """What the options `given`, the environment and the file say; None if `SiloConfig` must judge it."""
    variables, file = _variables(), _file()
    if variables is None or file is None:
        return None
    if any("${" in str(value) for source in (file, variables, given) for value in source.values()):
        return None  # references to secrets
    if not all(_IS_PLAIN[name](value) for source in (file, variables, given) for name, value in source.items()):
        return None
    values: dict[str, Any] = {**file, **variables, **given}
    if len(tokens := [values[name] for name in TOKENS if name in values]) > len(set(tokens)):
        return None
    if "http_host" in values and str(values.get("http", "off")).lower() == "off":
        return None
    membership = values.get("membership", "")
    option = "membership" if membership else "data"
    variable = f"{PREFIX}{option.upper()}" if option in variables else str(TOML) if option in file else ""
    return Here(
        cluster=values.get("cluster", "default"),
        host=values.get("host", "127.0.0.1"),
        gateway_port=int(values.get("gateway_port", 30000)),
        membership=membership,
        membership_url=membership or sqlite_url(Path(values.get("data", ".grange")) / "cluster.db"),
        option=option,
        origin="" if option in given else variable,
        data=str(Path(values.get("data", ".grange"))),
        audit=values.get("audit", ""),
        token=next((values[name] for name in TOKENS if name in values), ""),
    )


def _variables() -> dict[str, str] | None:
    """The values of the environment by option; None for a variable that is not one whole option."""
    found = {name: value for name, value in os.environ.items() if name.upper().startswith(PREFIX)}
    values = {name.removeprefix(PREFIX).lower(): value for name, value in found.items() if name.isupper()}
    return values if len(values) == len(found) and values.keys() <= _IS_PLAIN.keys() else None


def _file() -> dict[str, Any] | None:
    """The values of the file; None for a file that is not plain to read."""
    try:
        if TOML.is_symlink() or not TOML.is_file():
            return None if TOML.is_symlink() or TOML.exists() else {}
        with TOML.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
        values = tomllib.loads(text.decode())
    except (OSError, ValueError, RecursionError):
        return None
    return values if len(text) <= LARGEST_FILE and values.keys() <= _IS_PLAIN.keys() else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _is_word(value: object) -> bool:
    return isinstance(value, str) and _is_text(value) and bool(value.strip())


def _is_host(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return str(ipaddress.ip_address(value)) == value
    except ValueError:
        return _HOST_NAME.fullmatch(value) is not None


def _is_port(value: object) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None and int(value) <= 65535
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535


def _is_port_or_off(value: object) -> bool:
    return value == "off" or _is_port(value)


def _is_url(value: object) -> bool:
    return isinstance(value, str) and _URL.fullmatch(value) is not None


def _is_token(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(check_token(value))
    except ValueError:
        return False


def _is_flag(value: object) -> bool:
    return isinstance(value, bool) or value in ("true", "false")


_IS_PLAIN: Mapping[str, Callable[[Any], bool]] = MappingProxyType({
    "cluster": _is_word, "service": _is_word, "name": _is_text, "host": _is_host, "advertise": _is_host,
    "port": _is_port, "gateway_port": _is_port, "probe_port": _is_port, "http": _is_port_or_off, "http_host": _is_host,
    "data": _is_word, "membership": _is_url, "audit": _is_url,
    "storage": _is_url, "insecure": _is_flag, "exit_on_dead_loop": _is_flag, "keep_logs": _is_flag,
    **dict.fromkeys(TOKENS, _is_token),
})  # fmt: skip
"""Whether a value of an option is surely right. An option that is missing here is left to `SiloConfig`."""
