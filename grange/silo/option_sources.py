"""Where a silo's options come from besides keywords: the environment, files that it names, and `grange.toml`.

A name that no option has, a value given twice and a file that cannot be read are errors: an option that is lost in
silence would start a silo with other stores than intended.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import msgspec
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from grange.databases.urls import scheme_of, shown_url
from grange.errors import ConfigurationError
from grange.silo.option_tables import table_of
from grange.text_files import reason_of, secret_of, text_of

PREFIX = "GRANGE_"
"""Prefix of every environment variable that sets an option."""

TOML = Path("grange.toml")

SIMILAR = 0.75
"""Least similarity to an option's variable (0 to 1, by `difflib`) at which it is suggested."""

_FILE = "_FILE"

_OF_KUBERNETES = re.compile(
    r"GRANGE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""The variables that Kubernetes sets in every container for a service whose name begins with `grange`."""

_NEVER_EMPTY: Mapping[str, str] = MappingProxyType({
    "membership": "URL", "storage": "URL", "audit": "URL", "admin_token": "token", "operator_token": "token",
    "viewer_token": "token",
})  # fmt: skip
"""Options whose variable must have a value, and what it is."""

_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


class Variable(msgspec.Struct, frozen=True):
    """One variable of the environment: its name there, the option that it sets, and its value."""

    name: str
    path: tuple[str, ...]
    value: str
    is_file: bool

    def text(self) -> str:
        """The value, read from the file if the variable names one. Raises ConfigurationError."""
        return _secret(self.name, self.value) if self.is_file else self.value


def variables(options: Mapping[str, FieldInfo]) -> list[Variable]:
    """The variables of the environment that set options, in the order of their names.

    Raises ConfigurationError for a variable that names no option, and for two that set the same one.
    """
    found: dict[tuple[str, ...], Variable] = {}
    for name, value in sorted(os.environ.items()):
        upper = name.upper()
        if not upper.startswith(PREFIX) or _OF_KUBERNETES.fullmatch(upper):
            continue
        if upper.endswith("_PORT") and _SERVICE_LINK.match(value):
            _refuse_service_link(name, upper, options)
            continue
        stem = upper.removeprefix(PREFIX).removesuffix(_FILE)
        path = tuple(part.lower() for part in stem.split("__"))
        _check_name(name, path, options)
        variable = Variable(name, path, value, upper.endswith(_FILE))
        other = found.setdefault(path, variable)
        if other is not variable:
            raise ConfigurationError(
                f"{other.name} and {name} both set the option {'.'.join(path)!r}; unset one of them"
            )
    return list(found.values())


def files_of(options: Mapping[str, FieldInfo], taken: Collection[tuple[str, ...]]) -> dict[tuple[str, ...], Path]:
    """The file of each option that a variable of the environment reads from one, unless the option is `taken`."""
    found = (each for each in variables(options) if each.is_file and each.path not in taken)
    return {each.path: Path(each.value).absolute() for each in found}


def origin_of(
    options: Mapping[str, FieldInfo], path: tuple[str, ...], keywords: Collection[tuple[str, ...]], exact: bool = False
) -> str:
    """The variable or file that an option comes from; empty for a keyword.

    Without `exact` also one that sets a part of it: an error about an option may be about all of them together.
    """
    if path in keywords or (path[:1] in keywords and not exact):
        return ""
    found = variables(options)
    fits = [each.name for each in found if each.path == path or each.path == path[:1]]
    if len(path) == 1 and not exact:
        fits = fits or [each.name for each in found if each.path[0] == path[0]]
    place: Any = read_toml()
    for name in path if exact else path[:1]:
        place = cast("Mapping[str, Any]", place).get(name) if isinstance(place, Mapping) else None
    return ", ".join(fits) or (str(TOML) if place is not None else "")


class EnvironmentSource(PydanticBaseSettingsSource):
    """`GRANGE_PORT=0`, `GRANGE_RUNTIME__IDLE_TIMEOUT=60`, `GRANGE_STORAGE_FILE=/run/secrets/storage`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """pydantic-settings: not used, because `__call__` reads all variables at once."""
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for variable in variables(self.settings_cls.model_fields):
            option, *rest = variable.path
            text = variable.text()
            if rest:
                table = values.setdefault(option, {})
                if rest[0] in table:
                    raise ConfigurationError(
                        f"{PREFIX}{option.upper()} and {variable.name} both set the option "
                        f"{'.'.join(variable.path)!r}; unset one of them"
                    )
                table[rest[0]] = text
            else:
                values[option] = _value(variable, text, self.settings_cls)
        return values


class TomlSource(PydanticBaseSettingsSource):
    """`grange.toml` in the current folder."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """pydantic-settings: not used, because `__call__` reads the whole file."""
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        return read_toml()


def read_toml() -> dict[str, Any]:
    """The content of `grange.toml`; empty without such a file. Raises ConfigurationError if it cannot be read."""
    try:
        TOML.lstat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"the configuration file {TOML} cannot be looked for: {error.strerror}") from None
    try:
        return tomllib.loads(text_of(TOML))
    except (OSError, ValueError, RecursionError) as error:
        reason = "its values are nested too deeply" if isinstance(error, RecursionError) else reason_of(error)
        remedy = "correct it, or remove it to run without it"
        raise ConfigurationError(f"the configuration file {TOML} cannot be read: {reason}; {remedy}") from None


def _secret(variable: str, path: str) -> str:
    if scheme_of(path) is not None:
        raise ConfigurationError(
            f"{variable} must name a file, not a URL such as {shown_url(path)!r}; give the URL by "
            f"{variable[: -len(_FILE)]}, or write it into a file"
        )
    try:
        return secret_of(Path(path))
    except ValueError as error:
        raise ConfigurationError(f"{variable} names {path!r}, which cannot be read: {error}") from None


def _check_name(name: str, path: tuple[str, ...], options: Mapping[str, FieldInfo]) -> None:
    """Raise ConfigurationError for a variable that sets no option. A table checks the names of its own options."""
    if path[0] not in options:
        known = [PREFIX + option.upper() for option in options]
        for table in (option for option in options if _is_table(options[option]) and path[0].startswith(f"{option}_")):
            form = f"{PREFIX}{table}__{path[0].removeprefix(f'{table}_')}".upper()
            raise ConfigurationError(f"the environment variable {name} is no option; did you mean {form}?")
        table = table_of(path[-1])
        own = [f"{PREFIX}{table}__{path[-1]}".upper()] if table else []
        close = own or difflib.get_close_matches(PREFIX + path[0].upper(), known, n=1, cutoff=SIMILAR)
        remedy = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        raise ConfigurationError(f"the environment variable {name} is no option; {remedy}")
    if len(path) > 1 and not (_is_table(options[path[0]]) and len(path) == 2 and path[1]):
        parent = PREFIX + path[0].upper()
        form = f"{parent}__NAME" if _is_table(options[path[0]]) else parent
        raise ConfigurationError(f"the environment variable {name} is no option; write {form}")


def _refuse_service_link(name: str, upper: str, options: Mapping[str, FieldInfo]) -> None:
    """Kubernetes' own variable is ignored, unless it has the name of an option, which it would then replace."""
    if upper.removeprefix(PREFIX).lower() in options:
        raise ConfigurationError(
            f"the environment variable {name} comes from Kubernetes, for a service whose name begins with grange; "
            "give that service another name, or set enableServiceLinks: false"
        )


def _value(variable: Variable, text: str, settings: type[BaseSettings]) -> Any:
    """The value of a whole option: JSON for a table or a list, else the text itself."""
    option = variable.path[0]
    field = settings.model_fields[option]
    if option in _NEVER_EMPTY and not text.strip():
        what = _NEVER_EMPTY[option]
        raise ConfigurationError(f"the environment variable {variable.name} is empty; unset it, or give a {what}")
    if not _is_table(field) and not _is_list(field):
        if variable.is_file and "\n" in text:
            raise ConfigurationError(
                f"{variable.name} names a file with several lines; the value must be its only line"
            )
        return text
    example = "'[\"ssd\"]'" if _is_list(field) else '\'{"name": "value"}\''
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ConfigurationError(
            f"the environment variable {variable.name} must be JSON, such as {PREFIX}{option.upper()}={example}: "
            f"{reason}"
        ) from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"a name is given twice: {twice[0]!r:.100}" if "://" not in twice[0] else "a name is given twice"
        )
    return dict(pairs)


def _is_table(field: FieldInfo) -> bool:
    return isinstance(field.get_default(call_default_factory=True, validated_data={}), dict)


def _is_list(field: FieldInfo) -> bool:
    return isinstance(field.get_default(call_default_factory=True, validated_data={}), tuple)
