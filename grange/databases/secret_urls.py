"""Fills the secrets into URLs that have references to them: `postgresql://app:${vault:secret/shop#password}@host/shop`.

Called when a silo or a command reads its options, by `open_storage` and `open_table`, and again for each new
connection (`credentials.py`).
"""

from __future__ import annotations

from grange.databases.urls import SecretUrl, filled_template, masked_template
from grange.errors import ConfigurationError
from grange.security.references import has_references
from grange.security.secret import Secret
from grange.security.secrets import Secrets


async def filled_url(template: str, secrets: Secrets, fresh: bool = False) -> SecretUrl:
    """The URL with its secrets as they are now. `fresh`: those that were read before are refused.

    Raises ConfigurationError for a wrong reference or value, and SecretUnavailable. Neither shows a value.
    """
    _, references = masked_template(template)
    found = {each: await secrets.read(each, fresh) for each in dict.fromkeys(references)}
    try:
        url, secret = filled_template(template, [found[each].reveal() for each in references])
    except ConfigurationError as error:
        names = ", ".join(map(str, found))
        raise ConfigurationError(f"what {names} holds does not fit into the URL: {error}") from None
    for each in secret:
        secrets.known.add(Secret(each))
    return SecretUrl.of(url, template, secrets)


def needs_secrets(url: str) -> bool:
    """Whether a URL has references that are not filled in."""
    return has_references(url) and not isinstance(url, SecretUrl)


async def usable_url(url: str) -> str:
    """A URL of a program or a test, with its secrets filled in if it has references. A silo fills them in itself."""
    return await filled_url(url, Secrets()) if needs_secrets(url) else url
