"""This machine's silo by its full configuration, which is imported for what `here.py` does not read by itself."""

from __future__ import annotations

from collections.abc import Mapping

from grange.cli.here import Here
from grange.security.options import FILES
from grange.silo.config import SiloConfig
from grange.silo.secret_options import filled_now


def configured_here(given: Mapping[str, str]) -> Here:
    """As `plain_here`. Raises ConfigurationError for a wrong option."""
    # insecure and advertise: nothing listens here, so these checks of a silo's configuration must not fail
    config = filled_now(SiloConfig(**given, insecure=True, advertise="localhost"))
    tls = config.tls_options()
    is_further = tls.mode == "both" and tls.gateway_port
    return Here(
        cluster=config.cluster,
        host=config.host,
        gateway_port=tls.gateway_port if is_further else config.gateway_port,
        membership=config.membership,
        membership_url=config.membership_url,
        option=config.membership_option,
        data=str(config.data),
        audit=config.audit_url,
        token=config.admin_token or config.operator_token or config.viewer_token,
        scheme="https" if tls.is_given and tls.mode == "required" else "http",
        tls={name: value for name in FILES if (value := getattr(tls, name))},
        origin=config.wrong((config.membership_option,), "").origin,
    )
