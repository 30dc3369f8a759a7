"""Carries pydantic models: by the names of their fields, secrets included, and compared before they are sent.

What a model dumps is the author's choice: aliases, serialisers, excluded fields. So several ways are tried, and the
first is taken whose result is validated to an equal model. pydantic itself is not imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, cast

import msgspec

from grange.proto.checks import Check, Found, Unfit, class_name, class_of, subclass_error
from grange.proto.equality import difference
from grange.proto.message import Encoding
from grange.proto.zones import BUILTIN_TYPES, UnknownZone, class_as_any, lower, mapped, moment_of


class PydanticModels:
    """`values.Extension` for classes with pydantic's methods."""

    def matches(self, kind: type) -> bool:
        """Whether the class has pydantic's two methods."""
        return hasattr(kind, "model_validate") and hasattr(kind, "model_dump")

    def is_text(self, kind: type) -> bool:
        """False: a model is a mapping."""
        return False

    def exact(self, kind: type) -> frozenset[type]:
        """No class: each model is compared."""
        return frozenset()

    def shared(self, kind: type) -> dict[type, Callable[[Any], bool] | None]:
        """No class: models are copied."""
        return {}

    def check(self, kind: type, encoding: Encoding) -> Check:
        """Exactly this class, and equal after validation."""

        def check(value: Any, found: Found) -> None:
            if type(value) is not kind:
                if isinstance(value, kind):
                    raise subclass_error(value, kind)
                raise Unfit(f"Expected `{class_name(kind)}`, got `{class_of(value)}`")
            found.zones = True  # msgspec must not write the moments inside
            if found.encoded is None:
                found.encoded = {}
            found.encoded[id(value)] = _carried(value, encoding)

        return check

    def encode(self, value: Any, encoding: Encoding) -> Any:
        """The model as builtins. Raises Unfit for a model that would not come out equal."""
        return _carried(value, encoding) if self.matches(value.__class__) else NotImplemented

    def decode(self, kind: type, data: Any) -> Any:
        """Validate the data. Raises ValueError with the fields, and without the data: it may hold secrets."""
        try:
            return _read(kind, data)
        except ValueError as error:
            raise _without_input(error) from None


_REMEDY = "give the field a type that pydantic reads back, or mend its serialiser or validator"


def _carried(model: Any, encoding: Encoding) -> Any:
    """What is sent for a model. Raises Unfit naming the first field that no way carries."""
    cls = class_as_any(model)
    failed: Unfit | None = None
    # In storage all fields are written, so that a changed default does not change what is stored.
    ways = [_set_fields, _dumped, _attributes] if encoding is Encoding.MSGPACK else [_dumped, _attributes]
    for way in ways:
        try:
            data = _builtins(way(model), encoding)
            read = _read(cls, _sent(data, encoding))
        except Exception as error:  # includes errors of the author's serialisers and validators
            failed = failed or Unfit(f"`{class_of(model)}` cannot be sent: {_without_input(error)}")
            continue
        found = difference(model, read)
        if found is None and (way is not _set_fields or model.model_fields_set == read.model_fields_set):
            return data
        reason = f"`{class_of(model)}` does not come out of its validation equal to what it was: {_REMEDY}"
        failed = failed or Unfit(reason).within(found.path if found else "")
    assert failed is not None
    raise failed


def _set_fields(model: Any) -> Any:
    """The dump of the fields that were set; the others get their defaults, so they count as not set again."""
    return _dump(model, exclude_unset=True)


def _dumped(model: Any) -> Any:
    """The dump by the author's serialisers."""
    return _dump(model, exclude_unset=False)


def _dump(model: Any, exclude_unset: bool) -> Any:
    # In Python mode, secrets stay secrets and are not replaced by asterisks.
    return model.__pydantic_serializer__.to_python(
        model, mode="python", by_alias=False, round_trip=True, exclude_unset=exclude_unset, warnings=False
    )


def _attributes(model: Any) -> Any:
    """The fields as they are, without serialisers, also those that are excluded from dumps."""
    cls = class_as_any(model)
    extra: dict[str, Any] = model.__pydantic_extra__ or {}
    fields: dict[str, Any] = {name: getattr(model, name) for name in cls.model_fields}
    return {**fields, **extra}


def _builtins(dumped: Any, encoding: Encoding) -> Any:
    data = msgspec.to_builtins(dumped, builtin_types=BUILTIN_TYPES, enc_hook=_plain)
    return _bytes_as_text(data) if encoding is Encoding.JSON else data


def _plain(value: Any) -> Any:
    """The form that pydantic reads back, for values that msgspec does not know."""
    cls = class_as_any(value)
    if hasattr(value, "get_secret_value"):
        return value.get_secret_value()
    if hasattr(cls, "model_fields"):
        return _attributes(value)
    if cls is re.Pattern:
        return value.pattern
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    for base in (str, int, float):
        if isinstance(value, base):
            return base(value)
    return list(value) if hasattr(cls, "__iter__") else str(value)


def _bytes_as_text(data: Any) -> Any:
    """pydantic reads bytes from JSON as UTF-8. Others stay, are written as base64, and fail the comparison."""
    if isinstance(data, bytes):
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data
    return mapped(data, _bytes_as_text)


def _sent(data: Any, encoding: Encoding) -> Any:
    """The data as they arrive."""
    codec = msgspec.msgpack if encoding is Encoding.MSGPACK else msgspec.json
    return codec.decode(codec.encode(lower(data)))


def _read(kind: type[Any], data: Any) -> Any:
    """The model. Its types are pydantic's, so texts of moments in zones are replaced only if they are refused."""
    try:
        return _validated(kind, data)
    except ValueError as error:
        lifted = _lifted(data)
        if lifted == data:
            raise
        try:
            return _validated(kind, lifted)
        except ValueError:
            raise error from None


def _lifted(data: Any) -> Any:
    if isinstance(data, str):
        try:
            return moment_of(data) or data
        except UnknownZone:
            return data
    return mapped(data, _lifted)


def _validated(kind: type[Any], data: Any) -> Any:
    """The model by names or aliases. A strict model takes text for a UUID or a date by its rules for JSON only."""
    try:
        return _by_name(kind.model_validate, data)
    except ValueError as error:
        try:
            return _by_name(kind.model_validate_json, msgspec.json.encode(data))
        except (ValueError, TypeError):
            raise error from None


def _by_name(validate: Callable[..., Any], data: Any) -> Any:
    try:
        return validate(data, by_name=True)
    except TypeError:  # pydantic before 2.11 does not have the option
        return validate(data)


def _without_input(error: Exception) -> Exception:
    """An error without the data that did not fit."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return error
    parts = errors(include_url=False, include_context=False, include_input=False)
    return ValueError("; ".join(f"{'.'.join(map(str, part['loc'])) or 'it'}: {part['msg']}" for part in parts))
