"""Safety checks of a silo's stores, for its start and for `grange doctor` (rule R9)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from grange.databases.checks import check_store
from grange.databases.findings import Level, StoreFinding, bad, ok
from grange.databases.urls import shown_url
from grange.errors import GrangeError, MembershipUnavailable
from grange.silo.config import SiloConfig

log = logging.getLogger("grange.silo")


class StoreReport(msgspec.Struct, frozen=True):
    """The findings for one store. `stores` names its uses in the silo, `place` is its URL without the password."""

    stores: tuple[str, ...]
    place: str
    findings: tuple[StoreFinding, ...]


def stores_of(config: SiloConfig) -> dict[str, tuple[str, ...]]:
    """The store URLs of a configuration, each with the names of its uses."""
    named = [("membership", config.membership_url)]
    named += [(f"storage {name}", url) for name, url in config.storage_urls.items()]
    return {url: tuple(name for name, other in named if other == url) for url in dict.fromkeys(u for _, u in named)}


async def reports(stores: Mapping[str, tuple[str, ...]]) -> list[StoreReport]:
    """One report for each URL, in order. A store that cannot be reached is a bad finding."""
    return [StoreReport(names, shown_url(url), tuple(await _findings(url))) for url, names in stores.items()]


async def _findings(url: str) -> list[StoreFinding]:
    try:
        return await check_store(url) or [ok("check", "there is none for this kind of store")]
    except GrangeError as error:
        return [bad("connection", str(error), "start the store, or correct the URL, user or password")]


async def check_at_start(url: str) -> None:
    """Log a warning for each unsafe setting of a store. `ConfiguredEnvironment` calls this before it opens the store.

    Raises MembershipUnavailable, which ends the process with exit code 6, for a store that cannot work. A store that
    cannot be reached is skipped: opening it raises a better error.
    """
    try:
        findings = await check_store(url)
    except GrangeError as error:
        log.debug("the store at %s could not be checked: %s", shown_url(url), error)
        return
    for finding in findings:
        text = f"{shown_url(url)} is not safe to rely on: {finding.subject}: {finding.found}; {finding.remedy}"
        if finding.level is Level.BAD:
            raise MembershipUnavailable(text)
        if finding.level is Level.WARN:
            log.warning("%s", text, extra={"event": "store_not_safe"})
