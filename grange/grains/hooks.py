"""Checks the members of a class that the runtime owns: its hooks, its constructor, and the names of Grain. Pure.

A hook that is not async, takes other arguments or is hidden by Grain would fail or never run, in each activation.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from typing import Any

from grange.errors import ConfigurationError
from grange.grains.carried import check_carried
from grange.grains.generics import own_annotations

Hooks = Mapping[str, tuple[str, ...]]
"""The hooks of a kind of class by name, with their arguments."""

HOOKS: Hooks = {
    "on_activate": (),
    "on_deactivate": ("reason",),
    "dehydrate": (),
    "rehydrate": ("memory",),
    "on_reminder": ("tick",),
    "on_job": ("job",),
    "on_call": ("call", "proceed"),
}
"""The methods of the life of a grain that its class may override, with their arguments.

Only the runtime calls them; references lack them. `docs/life-cycle.md` says when. All other public names of Grain are
its verbs, and may not be overridden.
"""

DELIVERED_HOOKS = ("on_reminder", "on_job")
"""The hooks that reminders and jobs call."""

_ALMOST = re.compile(r"on_?(?:(de)?activ(?:e|ate|ated|ation|ating)|((?:de|re)hydrate))(?:_?async)?", re.IGNORECASE)
"""Names in which an author means a hook, as in Orleans, where it is `OnActivateAsync` or `OnDehydrate`."""

_CLOSE = 0.88
"""Similarity (0 to 1, by `difflib`) at which a name is taken for a hook that is spelt wrongly."""

_PRIVATE = frozenset({"_grange", "_context"})
"""The private names of Grain, which its public verbs need."""


def check_members(
    cls: type, roots: frozenset[type], base_names: frozenset[str], is_interface: bool, hooks: Hooks = HOOKS
) -> None:
    """Check the names, hooks and constructor of a new class. Raises ConfigurationError with the remedy.

    `roots` are Grain and the other classes that the runtime defines.
    """
    hidden: set[str] = set()  # members of Grain, which come before those of the bases that follow
    for base in cls.__mro__:
        if base in roots:
            hidden |= vars(base).keys()
        elif base.__module__ not in ("builtins", "typing"):
            _check_names(cls, base, base_names - hooks.keys(), roots)
            for name in hooks.keys() & vars(base).keys():
                _check_hook(cls, base, name, name in hidden, is_interface, hooks[name])
            _check_spelling(base, hooks)
    check_carried(cls)
    init = inspect.getattr_static(cls, "__init__")
    if inspect.iscoroutinefunction(init) or inspect.isgeneratorfunction(init) or inspect.isasyncgenfunction(init):
        raise ConfigurationError(f"{cls.__name__}.__init__ must be a plain def; await in on_activate instead")


def _check_names(cls: type, base: type, base_names: frozenset[str], roots: frozenset[type]) -> None:
    owned = {name for name in base_names if not name.startswith("_")} | _PRIVATE
    taken = sorted(owned & (vars(base).keys() | own_annotations(base).keys()))
    if taken:
        via = "" if base is cls else f" (in its base {base.__name__})"
        root = next((each.__name__ for each in cls.__mro__ if each in roots and taken[0] in vars(each)), "Grain")
        raise ConfigurationError(
            f"grain class {cls.__name__}: {', '.join(taken)} is a name of {root}; choose another{via}"
        )


def _check_spelling(base: type, hooks: Hooks) -> None:
    """Refuse a method whose name is almost that of a hook: the runtime would never call it."""
    for name, member in vars(base).items():
        if not name.lower().startswith("on") or not inspect.isfunction(member):
            continue
        meant = _meant(name, hooks)
        if meant:
            raise ConfigurationError(
                f"{base.__name__}.{name} is almost the hook {meant}, and would never run; rename it to {meant}, or to "
                "another name if callers call it"
            )


def _meant(name: str, hooks: Hooks) -> str:
    """The hook that an author meant by this name; empty if it is one, or none was meant."""
    if name in hooks or name in HOOKS:
        return ""
    almost = _ALMOST.fullmatch(name)
    if almost and hooks is HOOKS:
        return almost[2].lower() if almost[2] else "on_deactivate" if almost[1] else "on_activate"
    near = ("on_activate", "on_deactivate") if hooks is HOOKS else hooks
    close = difflib.get_close_matches(name, near, n=1, cutoff=_CLOSE)
    return close[0] if close else ""


def _check_hook(cls: type, base: type, name: str, hidden: bool, is_interface: bool, arguments: tuple[str, ...]) -> None:
    place = f"{base.__name__}.{name}"
    if is_interface:
        raise ConfigurationError(f"{place}: an interface has no hooks; move it to the grain class")
    if hidden:
        raise ConfigurationError(
            f"{place} would never run, because Grain comes before {base.__name__} in the bases of {cls.__name__}; "
            f"list {base.__name__} first: class {cls.__name__}({base.__name__}, ...)"
        )
    hook: Any = vars(base)[name]
    shape = f"async def {name}(self{''.join(f', {argument}' for argument in arguments)})"
    if not (inspect.isfunction(hook) and inspect.iscoroutinefunction(hook)):
        raise ConfigurationError(f"{place} is a hook that the runtime awaits; write {shape}")
    try:
        inspect.signature(hook).bind(cls, *arguments)
    except TypeError as error:
        raise ConfigurationError(f"{place} is called as {shape}: {error}") from None
