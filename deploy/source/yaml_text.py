"""Writes a tree as YAML: settled, or as a template for Helm. The same tree gives the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from deploy.source.tree import Late, More, Node, Spread, When

_SAFE = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_WORDS_WITH_A_MEANING = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def yaml_text(node: Node) -> str:
    """The tree as one YAML document, without the line `---`."""
    return "\n".join(_lines(node, 0)) + "\n"


def _lines(node: Node, indent: int) -> list[str]:
    if isinstance(node, Mapping):
        return [line for name, member in node.items() for line in _conditional(member, indent, f"{_scalar(name)}:")]
    return [line for member in node for line in _conditional(member, indent, "-")]


def _conditional(member: Node, indent: int, lead: str) -> list[str]:
    """A member of a dict or list. `lead` is its name with a colon, or the dash."""
    if isinstance(member, When):
        start = f"{' ' * indent}{{{{- if {member.condition.helm} }}}}"
        return [start, *_member(member.node, indent, lead), f"{' ' * indent}{{{{- end }}}}"]
    if isinstance(member, Spread):
        start = f"{' ' * indent}{{{{- range $name, $value := .Values.{member.path} }}}}"
        one = member.member(Late("toJson $name", str), Late("toJson $value", str))
        return [start, *_member(one, indent, lead), f"{' ' * indent}{{{{- end }}}}"]
    if isinstance(member, More):
        start = f"{' ' * indent}{{{{- range $name, $value := .Values.{member.path} }}}}"
        return [
            start,
            f"{' ' * indent}{{{{ toJson $name }}}}: {{{{ toJson $value }}}}",
            f"{' ' * indent}{{{{- end }}}}",
        ]
    return _member(member, indent, lead)


def _member(node: Node, indent: int, lead: str) -> list[str]:
    start = " " * indent + lead
    if isinstance(node, Late):
        if node.block:
            return [f"{start} {{{{- {node.helm} | nindent {indent + 2} }}}}"]
        return [f"{start} {{{{ {node.helm} }}}}"]
    if not isinstance(node, (Mapping, list)):
        return [f"{start} {_scalar(node)}"]
    if not node:
        return [f"{start} {'{}' if isinstance(node, Mapping) else '[]'}"]
    lines = _lines(node, indent + 2)
    if lead == "-" and lines[0].lstrip()[:2] != "{{":
        return [f"{start} {lines[0][indent + 2 :]}", *lines[1:]]
    return [start, *lines]


def _scalar(content: object) -> str:
    """A text without quotes where YAML reads it as that text, else as JSON."""
    if isinstance(content, str):
        assert "{{" not in content, f"Helm would take this for a template: {content!r}"
        if _SAFE.fullmatch(content) and content.lower() not in _WORDS_WITH_A_MEANING:
            return content
    return json.dumps(content)
