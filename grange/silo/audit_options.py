"""The check of the options `audit` and `audit_required`. `config.py` calls it when the options are read."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from grange.audit.urls import check_url
from grange.errors import OptionError
from grange.security.references import has_references


class Options(Protocol):
    """What the check needs of `SiloConfig`."""

    audit: str
    audit_required: bool

    def naming(self, *path: str) -> AbstractContextManager[None]:
        """Let a ConfigurationError inside the `with` name this option."""
        ...

    def wrong(self, path: tuple[str, ...], problem: str) -> OptionError:
        """The error for an option."""
        ...


def check_audit(config: Options) -> None:
    """Raise OptionError for a URL of no table, and for `audit_required` without one."""
    if has_references(config.audit):
        return  # it is checked when the secrets are filled in
    if config.audit:
        with config.naming("audit"):
            check_url(config.audit)
    elif config.audit_required:
        raise config.wrong(("audit_required",), "it has no effect without the option audit; name a database there")
