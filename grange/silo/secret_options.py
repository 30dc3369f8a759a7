"""The secrets of a silo's options: filled in when a silo or a command starts, and followed while the silo runs.

`Silo.start` calls `with_secrets`, a command `filled_now`. Stores follow the secrets in their URLs by themselves; tokens
are followed by `follow_tokens`. What a reference in another option leads to is read once, at the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, cast

import msgspec

from grange.admin_token import check_token
from grange.aio.throttled_log import ThrottledLog
from grange.databases.credentials import LOOK_PERIOD
from grange.databases.secret_urls import filled_url
from grange.databases.urls import SecretUrl, credentials_of, parse_url
from grange.errors import ConfigurationError, OptionError, SecretUnavailable
from grange.observability.events import Event
from grange.observability.secret_events import SecretBack, SecretRefused, SecretStale, SecretUnread
from grange.security.known import KnownSecrets
from grange.security.references import Reference, has_references, parse
from grange.security.secret import Secret
from grange.security.secrets import SecretNews, Secrets
from grange.silo.config import SiloConfig
from grange.silo.definition import SiloDefinition
from grange.silo.identities import Identities, Tokens
from grange.silo.option_errors import TOKENS, URLS

log = logging.getLogger("grange.security")

_OWN = frozenset({"vault"})
"""Tables whose source fills in their references itself, because they say how it is reached."""


async def with_secrets(parts: AsyncExitStack, definition: SiloDefinition) -> SiloDefinition:
    """The definition with its secrets filled in, and what reads them again until the silo has stopped.

    Raises ConfigurationError, and SecretUnavailable for a source that does not answer. No error shows a value.
    """
    secrets = await parts.enter_async_context(secrets_of(definition.config, definition.known_secrets).open())
    return msgspec.structs.replace(definition, config=await filled(definition.config, secrets), secrets=secrets)


def secrets_of(config: SiloConfig, known: KnownSecrets | None = None) -> Secrets:
    """What reads the secrets of this configuration. It asks nothing yet."""
    return Secrets(config.secrets_stale, {"vault": config.vault_options()}, known)


def filled_now(config: SiloConfig) -> SiloConfig:
    """The configuration of a command with its secrets filled in. It blocks until they are read. Raises as above."""
    if not _referring(config):
        return config

    async def fill() -> SiloConfig:
        async with secrets_of(config).open() as secrets:
            return await filled(config, secrets)

    with ThreadPoolExecutor(1) as thread:  # `grange dev` asks inside an event loop
        return thread.submit(lambda: asyncio.run(fill())).result()


async def filled(config: SiloConfig, secrets: Secrets) -> SiloConfig:
    """The configuration with its secrets filled in, and checked again. Raises as `with_secrets` does."""
    values: dict[str, Any] = {}
    templates: dict[tuple[str, ...], str] = {}
    for name, value in _referring(config).items():
        with config.naming(name):
            values[name] = await _filled((name,), value, secrets, templates)
    try:
        made = config.filled(values, secrets, templates)
    except OptionError as error:
        raise OptionError(error.option, _problem(error, secrets.known, templates), error.origin) from None
    _learn(made, secrets.known)
    return made


def _problem(error: OptionError, known: KnownSecrets, templates: Mapping[tuple[str, ...], str]) -> str:
    """What is wrong with an option, without the value that was filled in: its check may show it."""
    option = error.option.partition(".")[0]
    names = [template for path, template in templates.items() if path[0] == option]
    if not names or option in TOKENS | URLS:
        return known.hide(error.problem)
    return f"it does not allow what {', '.join(names)} leads to"


def _referring(config: SiloConfig) -> dict[str, Any]:
    options = ((name, getattr(config, name)) for name in type(config).model_fields if name not in _OWN)
    return {name: value for name, value in options if has_references(value)}


async def _filled(path: tuple[str, ...], value: Any, secrets: Secrets, templates: dict[tuple[str, ...], str]) -> Any:
    """A value with its secrets filled in, also inside lists and tables."""
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        return {name: await _filled((*path, name), each, secrets, templates) for name, each in table.items()}
    if isinstance(value, list | tuple):
        items = enumerate(cast("Sequence[Any]", value))
        return [await _filled((*path, str(number)), each, secrets, templates) for number, each in items]
    if not has_references(value):
        return value
    templates[path] = value
    if path[0] in URLS:
        return str(await filled_url(value, secrets))
    found = [await _text(part, secrets) for part in parse(value)]
    text = "".join(found)
    if path[0] in TOKENS or path[:2] == ("dashboard", "users"):
        secrets.known.add(Secret(text))
    return text


async def _text(part: str | Reference, secrets: Secrets) -> str:
    return part if isinstance(part, str) else (await secrets.read(part)).reveal()


def _learn(config: SiloConfig, known: KnownSecrets) -> None:
    """Keep the tokens and passwords of the options out of the logs, also those that stand in the options."""
    for token in filter(None, (getattr(config, name) for name in TOKENS)):
        known.add(Secret(token))
    if config.vault.get("secret_id"):
        known.add(Secret(str(config.vault["secret_id"])))
    for url in (config.membership_url, *config.storage_urls.values()):
        try:
            password = credentials_of(parse_url(url, "")).password
        except ConfigurationError:
            continue  # its error is raised where it is opened
        if password:
            known.add(Secret(password))
            if isinstance(url, SecretUrl):
                known.add(Secret(str(url)))


def event_of(news: SecretNews) -> Event:
    """The event that tells operators of it."""
    if news.kind == "unread":
        return SecretUnread(news.name, news.age, news.reason)
    if news.kind == "stale":
        return SecretStale(news.name, news.age, news.reason)
    return SecretBack(news.name, news.age) if news.kind == "back" else SecretRefused(news.name, news.reason)


async def follow_tokens(config: SiloConfig, secrets: Secrets, identities: Identities) -> None:
    """Run for the life of the silo: take tokens that were changed where they are kept. Connections keep their roles.

    A token that cannot be read, or is none, leaves the earlier one.
    """
    templates = {name: config.templates[(name,)] for name in sorted(TOKENS) if (name,) in config.templates}
    used = {name: str(getattr(config, name)) for name in TOKENS}
    warnings = ThrottledLog(log)
    while templates:
        await asyncio.sleep(LOOK_PERIOD)
        found = dict(used)
        for name, template in templates.items():
            try:
                found[name] = check_token("".join([await _text(part, secrets) for part in parse(template)]))
            except (ConfigurationError, SecretUnavailable):
                continue  # `Secrets` has logged it
            except ValueError as error:
                warnings.warning(f"the new value of the option {name} cannot be used", ConfigurationError(str(error)))
        given = [token for token in found.values() if token]
        if found == used or len(set(given)) < len(given):
            continue
        used = found
        for token in given:
            secrets.known.add(Secret(token))
        identities.replace(
            Tokens(admin=used["admin_token"], operator=used["operator_token"], viewer=used["viewer_token"])
        )
        log.info("the tokens of management have changed", extra={"event": "tokens_replaced"})
