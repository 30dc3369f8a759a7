"""Which role may do what. Pure; `actions.py` and `login.py` ask. The silo checks again by the same table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from grange.proto.acts import Action, Level

ROLE_NAMES: Mapping[Level, str] = MappingProxyType({
    Level.VIEWER: "viewer", Level.OPERATOR: "operator", Level.ADMIN: "admin",
})  # fmt: skip
"""The names of roles in the API and in the options."""

NEEDED: Mapping[Action, Level] = MappingProxyType({
    Action.DEACTIVATE: Level.OPERATOR, Action.COLLECT: Level.OPERATOR, Action.CORDON: Level.OPERATOR,
    Action.UNCORDON: Level.OPERATOR, Action.DRAIN: Level.OPERATOR, Action.LOG_LEVEL: Level.OPERATOR,
    Action.MOVE: Level.OPERATOR, Action.SUSPEND_REBALANCING: Level.OPERATOR,
    Action.CANCEL_REMINDER: Level.OPERATOR, Action.RETRY_REMINDER: Level.OPERATOR,
    Action.RESUME_REBALANCING: Level.OPERATOR, Action.VERSION_RULES: Level.OPERATOR,
    Action.DUMP_TASKS: Level.OPERATOR, Action.CALL: Level.ADMIN, Action.DECLARE_DEAD: Level.ADMIN,
})  # fmt: skip
"""The least level for each action."""


def switched_on(actions: Collection[str]) -> frozenset[Action]:
    """The actions that an option switches on; "*" stands for all. Raises ValueError for an unknown name."""
    if "*" in actions:
        return frozenset(Action)
    return frozenset(map(Action, actions))


def permitted(level: Level, on: Collection[Action]) -> list[Action]:
    """The actions that this level may do, in the order of `Action`."""
    return [action for action in Action if action in on and level >= NEEDED[action]]
