"""Safety checks of a silo's stores, for its start and for `grange doctor` (rule R9)."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from contextlib import contextmanager

import msgspec

from grange.databases.checks import check_store
from grange.databases.errors import setting_at_fault
from grange.databases.findings import Level, StoreFinding, bad, ok
from grange.databases.urls import shown_url
from grange.errors import (
    ConfigurationError,
    GrangeError,
    MembershipError,
    MembershipUnavailable,
    StorageError,
    StorageUnavailable,
)
from grange.membership.urls import try_table
from grange.silo.config import SiloConfig
from grange.storage.urls import try_storage

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
    named += [("audit", config.audit_url)] if config.audit else []
    return {url: tuple(name for name, other in named if other == url) for url in dict.fromkeys(u for _, u in named)}


async def reports(config: SiloConfig, *, while_it_runs: bool = False) -> list[StoreReport]:
    """One report for each store, in order. What prevents a silo's start is a bad finding.

    Each store is also tried: what a silo would write is written, and nothing of that stays. `while_it_runs`: no store
    is tried, and no SQLite file is read, because that check reads all of it.
    """
    return [
        StoreReport(names, shown_url(url), tuple(await _report(config, url, while_it_runs)))
        for url, names in stores_of(config).items()
    ]


async def _report(config: SiloConfig, url: str, while_it_runs: bool) -> list[StoreFinding]:
    if while_it_runs and url.startswith("sqlite:"):
        return [ok("file", "grange doctor reads the whole file; a silo that runs does not")]
    try:
        findings = await check_store(url)
    except GrangeError as error:
        return [bad("connection", str(error), _remedy(error))]
    try:
        findings = [*findings, *(() if while_it_runs else await _trials(config, url))]
    except GrangeError as error:
        findings = [*findings, bad("trial", str(error), _remedy(error))]
    return findings or [ok("check", "there is none for this kind of store")]


def _remedy(error: GrangeError) -> str:
    if isinstance(error, ConfigurationError) or setting_at_fault(error) is not None:
        return "change the setting that the finding names"
    return "start the store, or correct the host and port in its URL"


async def _trials(config: SiloConfig, url: str) -> list[StoreFinding]:
    """What a silo would do with the store, once for each kind of use. Nothing stays in the store."""
    findings: list[StoreFinding] = []
    if url == config.membership_url:
        findings += await try_table(url, config.cluster)
    if url in config.storage_urls.values():
        findings += await try_storage(url, config.service, config.storage_settings())
    return findings


async def check_at_start(config: SiloConfig, url: str) -> None:
    """Log a warning for each unsafe setting of a store. `ConfiguredEnvironment` calls this before it opens the store.

    Raises ConfigurationError for a store that cannot work until a setting changes (exit code 2), and
    MembershipUnavailable or StorageUnavailable (exit code 6) for one that may work later, such as a replica. A store
    whose settings cannot be read is tried nevertheless, and the trial raises a better error.
    """
    try:
        findings = await check_store(url)
    except ConfigurationError:
        raise
    except GrangeError as error:
        log.debug("the store at %s could not be checked: %s", shown_url(url), error)
        findings = []
    _refuse(config, url, findings)  # a trial would fail too, with less to say
    trials = await _trials(config, url)
    _refuse(config, url, trials)
    for finding in (*findings, *trials):
        if finding.level is Level.WARN:
            log.warning("%s", _text(url, finding), extra={"event": "store_not_safe"})


def _refuse(config: SiloConfig, url: str, findings: Iterable[StoreFinding]) -> None:
    kind = MembershipUnavailable if url == config.membership_url else StorageUnavailable
    for finding in findings:
        if finding.level is Level.BAD:
            raise (kind if finding.passes else ConfigurationError)(_text(url, finding))


def _text(url: str, finding: StoreFinding) -> str:
    return f"{shown_url(url)} is not safe to rely on: {finding.subject}: {finding.found}; {finding.remedy}"


@contextmanager
def naming(config: SiloConfig, url: str) -> Generator[None]:
    """Name the uses of a store in the errors of its opening: two storages may be at one place."""
    try:
        yield
    except (MembershipError, StorageError) as error:  # a ConfigurationError names its option already
        raise type(error)(f"{', '.join(stores_of(config)[url])}: {error}") from error
