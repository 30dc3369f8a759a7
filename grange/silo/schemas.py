"""The methods of a grain type as JSON Schema, for forms and for programs in other languages."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from grange.errors import NoSuchGrain
from grange.grains.interface import MethodSpec
from grange.proto.acts import Level
from grange.proto.ids import SiloAddress
from grange.proto.inspection import SCHEMA, MethodSchema, TypeSchema
from grange.runtime.activations.catalog import Catalog
from grange.runtime.activations.hosted import HostedType
from grange.runtime.system_target import SystemTargets

LONGEST_HELP = 200
"""Characters of a line of help."""


class Schemas:
    """Makes the schema of each hosted type once, when it is asked for first."""

    def __init__(self, address: SiloAddress, catalog: Catalog) -> None:
        self._address = address
        self._catalog = catalog
        self._made: dict[str, TypeSchema] = {}

    def serve(self, targets: SystemTargets) -> None:
        """Offer the system target."""
        targets.serve(SCHEMA, self._answer, Level.VIEWER)

    def of(self, grain_type: str) -> TypeSchema:
        """The schema. Raises NoSuchGrain if this silo does not host the type."""
        hosted = self._catalog.hosted.get(grain_type)
        if hosted is None:
            raise NoSuchGrain(f"silo {self._address} hosts no grain type {grain_type!r:.100}")
        if grain_type not in self._made:
            methods = tuple(_method(name, plan.method) for name, plan in hosted.methods.items())
            self._made[grain_type] = TypeSchema(grain_type, _help(hosted.cls), methods, _options(hosted))
        return self._made[grain_type]

    async def _answer(self, question: bytes) -> bytes:
        return msgspec.msgpack.encode(self.of(question.decode()))


def _options(hosted: HostedType) -> dict[str, str]:
    """The options in force as text; those of a class that apply to none of its activations are left out."""
    options, interleave = hosted.options, hosted.options.may_interleave
    found = {"key": getattr(options.key, "__name__", str(options.key))}
    if options.stateless_workers:
        found["stateless_workers"] = f"at most {options.stateless_workers} in each silo"
    else:
        found["placement"] = options.placement
    found["idle_timeout"] = "never: keep_alive" if options.keep_alive else f"{hosted.idle_timeout:g} s"
    found["reentrant"] = "yes" if options.reentrant else "no"
    if interleave is not None:
        found["may_interleave"] = interleave if isinstance(interleave, str) else interleave.__qualname__
    found["mailbox_limit"] = str(hosted.mailbox_limit)
    if options.errors:
        found["errors"] = ", ".join(sorted(error.__qualname__ for error in options.errors))
    if options.version:
        found["version"] = str(options.version)
    return found


def _method(name: str, method: MethodSpec) -> MethodSchema:
    return MethodSchema(
        name=name,
        parameters=_text(_parameters(method)),
        result=_text(_result(method)),
        help=_help(method.function),
        read_only=method.options.read_only,
        one_way=method.options.one_way,
    )


def _parameters(method: MethodSpec) -> dict[str, Any]:
    """An object with a property for each parameter."""
    schemas, shared = _schemas(method.types)
    properties: dict[str, Any] = {}
    for parameter, schema in zip(method.parameters, schemas, strict=True):
        has_default = parameter.default is not parameter.empty
        properties[parameter.name] = {**schema, **_default(parameter.default)} if has_default else schema
    required = [parameter.name for parameter in method.parameters if parameter.default is parameter.empty]
    made = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {**made, "$defs": shared} if shared else made


def _result(method: MethodSpec) -> dict[str, Any]:
    (schema,), shared = _schemas((method.result,))
    return {**schema, "$defs": shared} if shared else schema


def _schemas(kinds: tuple[Any, ...]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The schema of each type, and the parts that they share. A type that has no schema allows every value."""
    try:
        made, shared = msgspec.json.schema_components(kinds, schema_hook=_of_other, ref_template="#/$defs/{name}")
    except (TypeError, ValueError, RecursionError):
        return [{} for _ in kinds], {}
    return list(made), shared


def _of_other(kind: type) -> dict[str, Any]:
    """The schema of a class that msgspec does not know: a pydantic model has one, a reference is a text."""
    maker: Callable[[], dict[str, Any]] | None = getattr(kind, "model_json_schema", None)
    return maker() if callable(maker) else {"title": getattr(kind, "__name__", str(kind))}


def _default(value: object) -> dict[str, Any]:
    try:
        return {"default": msgspec.to_builtins(value)}
    except (TypeError, ValueError):
        return {}


def _help(documented: object) -> str:
    lines = (inspect.getdoc(documented) or "").splitlines()
    return lines[0][:LONGEST_HELP] if lines else ""


def _text(schema: dict[str, Any]) -> str:
    return msgspec.json.encode(schema, enc_hook=str).decode()
