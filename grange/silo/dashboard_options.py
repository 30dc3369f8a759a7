"""The options of the dashboard: the table `[dashboard]`. `grange/dashboard/` reads them; a silo only checks them."""

from __future__ import annotations

import re

import msgspec

from grange.errors import ConfigurationError
from grange.option_ranges import OutOfRange

ROLES = ("viewer", "operator", "admin")

HASH = re.compile(r"scrypt\$\d{1,9}:\d{1,3}:\d{1,3}\$[A-Za-z0-9+/=]{16,100}\$[A-Za-z0-9+/=]{40,100}")
"""The form of a hash that `grange dashboard passwd` prints: parameters, salt, hash."""


class DashboardOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The users of the dashboard. Without any, the tokens of the silo open it."""

    users: dict[str, str] = {}
    """Users who log in with a password: each name with the hash that `grange dashboard passwd` prints."""

    roles: dict[str, str] = {}
    """The role of each user: `viewer`, `operator` or `admin`. A user without one is a viewer."""

    def __post_init__(self) -> None:
        for user, hashed in self.users.items():
            if not HASH.fullmatch(hashed):
                raise OutOfRange(
                    f"dashboard option users: that of {user!r:.100} is no hash; make one by `grange dashboard passwd`"
                )
        for user, role in self.roles.items():
            if user not in self.users:
                raise ConfigurationError(f"dashboard option roles names {user!r:.100}, which the option users lacks")
            if role not in ROLES:
                raise OutOfRange(f"dashboard option roles: a role is one of {', '.join(ROLES)}, not {role!r:.100}")
