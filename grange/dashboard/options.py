"""The options of the dashboard: the table `[dashboard]` of a silo, and of `grange dashboard`."""

from __future__ import annotations

import msgspec

from grange.proto.acts import Level


class DashboardOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of the dashboard. Without users, only the tokens of the silo open it."""

    users: dict[str, str] = {}
    """Users who log in with a password: name and hash, as `grange dashboard passwd NAME` prints it."""
    roles: dict[str, str] = {}
    """The role of each user: `viewer`, `operator` or `admin`. A user without a role is a viewer."""
    actions: tuple[str, ...] = ("deactivate", "collect", "cordon", "uncordon", "drain", "log level", "dump tasks")
    """The actions that are switched on; `["*"]` switches on all. The others are refused for every role."""
    hosts: tuple[str, ...] = ()
    """Names by which browsers reach the dashboard, besides loopback. A request with another `Host` is refused."""


LEVELS = {"viewer": Level.VIEWER, "operator": Level.OPERATOR, "admin": Level.ADMIN}
"""The levels by their names in `roles`."""
