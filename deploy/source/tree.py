"""Values of a manifest that are known late: the chart leaves them to Helm, the plain manifests take the defaults.

A manifest is a tree of dicts, lists and scalars. A leaf may be a `Late`; a member of a dict or list may be a `When`, a
member of a list a `Spread`, a member of a dict a `More`. `settled` answers each of them from given values, and
`yaml_text.py` writes the tree as a template for Helm. A test renders the templates with Helm and compares the result
with `settled`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Node = Any
"""A dict, list, text, number, flag, `Late`, `When`, `Spread` or `More`."""


@dataclass(frozen=True)
class Given:
    """What a manifest is made from: the values, the name of the release, and the files inside the chart by path."""

    values: Mapping[str, Any]
    release: str
    files: Mapping[str, str]

    def value(self, path: str) -> Any:
        """The value at a path with dots. Raises KeyError."""
        found: Any = self.values
        for name in path.split("."):
            found = found[name]
        return found


@dataclass(frozen=True)
class Late:
    """One value: an expression for Helm, and the function that computes the same.

    A `block` is a dict or list that starts on a line of its own; Helm's expression must then be a text of YAML.
    """

    helm: str
    plain: Callable[[Given], Any]
    block: bool = False


@dataclass(frozen=True)
class When:
    """A member of a dict or list that exists only if the condition holds."""

    condition: Late
    node: Node


@dataclass(frozen=True)
class Spread:
    """Members of a list, one for each name and value of a map at `path`, in the order of their names.

    `member` makes one member from the expressions of name and value.
    """

    path: str
    member: Callable[[Late, Late], Node]


@dataclass(frozen=True)
class More:
    """Further members of a dict, from a map at `path`. It stands in the dict under a name of its own."""

    path: str


def value(path: str) -> Late:
    """A scalar of the chart's values. It is written as JSON, which is YAML that no content can break."""
    return Late(f"toJson .Values.{path}", lambda given: given.value(path))


def text_of(path: str) -> Late:
    """A scalar as a text: an environment variable is never a number."""
    return Late(f"toString .Values.{path} | toJson", lambda given: str(given.value(path)))


def block(path: str) -> Late:
    """A dict or list of the chart's values."""
    return Late(f"toYaml .Values.{path}", lambda given: given.value(path), block=True)


def release(suffix: str = "") -> Late:
    """The name of the release, which is the name of its objects, with a suffix."""
    return Late(f"printf {json.dumps('%s' + suffix)} .Release.Name | toJson", lambda given: given.release + suffix)


def has(path: str) -> Late:
    """Whether a value is there: true, not 0 and not empty."""
    return Late(f".Values.{path}", lambda given: bool(given.value(path)))


def lacks(path: str) -> Late:
    """Whether a value is false, 0 or empty."""
    return Late(f"not .Values.{path}", lambda given: not given.value(path))


def settled(node: Node, given: Given) -> Any:
    """The tree with every late value answered."""
    if isinstance(node, Late):
        return node.plain(given)
    if isinstance(node, Mapping):
        members = ((name, _chosen(member, given)) for name, member in _pairs(node, given))
        return {name: settled(member, given) for name, member in members if member is not None}
    if isinstance(node, list):
        return [settled(member, given) for each in node for member in _members(each, given)]
    return node


def _pairs(node: Mapping[str, Node], given: Given) -> list[tuple[str, Node]]:
    pairs: list[tuple[str, Node]] = []
    for name, member in node.items():
        pairs += given.value(member.path).items() if isinstance(member, More) else [(name, member)]
    return pairs


def _members(node: Node, given: Given) -> list[Node]:
    if isinstance(node, Spread):
        return [node.member(_fixed(name), _fixed(item)) for name, item in sorted(given.value(node.path).items())]
    chosen = _chosen(node, given)
    return [] if chosen is None else [chosen]


def _chosen(node: Node, given: Given) -> Node | None:
    """The node itself, the node of a condition that holds, or None."""
    if isinstance(node, When):
        return node.node if node.condition.plain(given) else None
    return node


def _fixed(content: Any) -> Late:
    return Late("", lambda _: content)
