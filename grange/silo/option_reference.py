"""Every option of a silo with its value and its source, and the JSON Schema of `grange.toml`.

The command `grange config` shows both. The meaning of an option is the docstring below it in its class.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import msgspec

from grange.security.references import has_references
from grange.silo.config import SiloConfig
from grange.silo.option_tables import TABLES
from grange.silo.shown_options import shown_in_table, shown_option

_BOUNDS: Mapping[str, str] = MappingProxyType({
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"
})  # fmt: skip
"""Bounds as pydantic names them for types with validators of their own, and as JSON Schema does."""


class EffectiveOption(msgspec.Struct, frozen=True):
    """One option: its dotted name, its value with secrets hidden, and where the value comes from.

    `source` is "default", "the code", a variable of the environment, or "grange.toml".
    """

    name: str
    value: Any
    source: str
    meaning: str


def effective_options(config: SiloConfig) -> list[EffectiveOption]:
    """Every option in force, those of the tables included. References to secrets are shown as they are written."""
    found: list[EffectiveOption] = []
    texts = meanings(SiloConfig)
    for name in SiloConfig.model_fields:
        kind = TABLES.get(name)
        if kind is None:
            source = config.source_of((name,)) or "default"
            value = shown_option(name, getattr(config, name), config.templates)
            found.append(EffectiveOption(name, _plain(value), source, texts[name]))
            continue
        given, own_texts = dict(getattr(config, name)), meanings(kind)
        plain = {key: value for key, value in given.items() if not has_references(value)}
        table = msgspec.convert(plain, kind, strict=False) if plain.keys() == given.keys() else kind()
        for key in kind.__struct_fields__:
            source = (config.source_of((name, key)) if key in given else "") or "default"
            value = getattr(table, key) if plain.keys() == given.keys() else given.get(key, getattr(table, key))
            value = shown_in_table(name, key, value, config.templates)
            found.append(EffectiveOption(f"{name}.{key}", value, source, own_texts[key]))
    return found


def _plain(value: Any) -> Any:
    """A value that JSON has: paths as texts."""
    if isinstance(value, tuple):
        return list(cast("Sequence[Any]", value))
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    return value if isinstance(value, int | float | str) else str(value)


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `grange.toml`, for editors: names, types, ranges, defaults and meanings."""
    schema = SiloConfig.model_json_schema()
    texts = meanings(SiloConfig)
    for name, field in schema["properties"].items():
        kind = TABLES.get(name)
        if kind is not None:
            schema["properties"][name] = field = _table_schema(kind)
        field.pop("title", None)
        for key, standard in _BOUNDS.items():
            if key in field:
                field[standard] = field.pop(key)
        field["description"] = texts[name]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "grange.toml",
        "description": "The options of a silo of grange.",
        "type": "object",
        "additionalProperties": False,
        "properties": schema["properties"],
    }


def _table_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    parts = msgspec.json.schema(kind)["$defs"]
    texts = meanings(kind)
    properties = {
        name: {**_inlined(field, parts), "description": texts[name]}
        for name, field in parts[kind.__name__]["properties"].items()
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _inlined(schema: Any, parts: Mapping[str, Any]) -> Any:
    """The schema with each part that it refers to in place of the reference."""
    if isinstance(schema, list | tuple):
        return [_inlined(each, parts) for each in cast("Sequence[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found = cast("dict[str, Any]", schema)
    if (reference := found.get("$ref")) is not None:
        part = dict(parts[str(reference).rpartition("/")[2]])
        found = {**part, **{name: each for name, each in found.items() if name != "$ref"}}
        found.pop("title", None)
    return {name: _inlined(each, parts) for name, each in found.items()}


def meanings(options: type) -> dict[str, str]:
    """Each option of a class with the docstring below it. Raises AssertionError for one without."""
    (body,) = ast.parse(inspect.getsource(options)).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.target.id[0] != "_":
            documented = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            assert documented, f"{options.__name__}.{field.target.id} has no docstring"
            assert isinstance(text, ast.Expr)
            assert isinstance(text.value, ast.Constant)
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found
