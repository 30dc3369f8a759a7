"""The checks of options that must fit together. `config.py` calls them when the options are read."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from grange.errors import OptionError
from grange.membership.model.member import REVISION
from grange.proto.acts import Action
from grange.security.options import TlsOptions
from grange.security.references import has_references
from grange.silo.option_errors import TOKENS
from grange.silo.option_values import is_loopback, is_wildcard


class Options(Protocol):
    """What the checks need of `SiloConfig`."""

    advertise: str
    host: str
    http: int | Literal["off"]
    road: Literal["grpc", "tcp"]
    insecure: bool
    storage: str
    storages: dict[str, str]
    labels: tuple[str, ...]
    actions: tuple[str, ...]
    tls: dict[str, Any]

    @property
    def public_host(self) -> str:
        """The host in the silo's address."""
        ...

    @property
    def admin_host(self) -> str:
        """The address of the port of `http`."""
        ...

    def tls_options(self) -> TlsOptions:
        """The options of TLS."""
        ...

    def wrong(self, path: tuple[str, ...], problem: str) -> OptionError:
        """The error for an option."""
        ...


def check_together(config: Options) -> None:
    """Raise OptionError, which names the option, for one that does not fit the others."""
    for check in (
        _check_labels, _check_address, _check_tls, _check_http, _check_road, _check_storages, _check_tokens,
        _check_actions,
    ):  # fmt: skip
        check(config)


def check_insecure(config: Options) -> None:
    """Raise OptionError for a silo whose `insecure` allows nothing. Commands set it to read any options."""
    if config.insecure and not _has_plain_ports(config):
        raise config.wrong(
            ("insecure",),
            "every port uses TLS (the table tls), so this has no effect; remove it, or set tls.mode = 'both'",
        )


def _has_plain_ports(config: Options) -> bool:
    return not config.tls or config.tls_options().mode != "required"


def _check_address(config: Options) -> None:
    option = "advertise" if config.advertise else "host"
    if is_wildcard(config.public_host):
        raise config.wrong(
            (option,),
            f"{config.public_host!r} is a wildcard, which nothing can connect to; "
            "give the option advertise the host by which others reach this silo",
        )
    hosts = (("host", config.host), (option, config.public_host), ("http_host", config.admin_host))
    public = [(name, host) for name, host in hosts if not is_loopback(host) and not has_references(host)]
    if public and _has_plain_ports(config) and not config.insecure:
        name, host = public[0]
        is_mixed = "in mode 'both' connections without TLS go on"
        plain = is_mixed if config.tls else "traffic is neither encrypted nor authenticated"
        raise config.wrong(
            (name,),
            f"{host!r} is not loopback, and {plain}; give the silo certificates (the table tls, in mode 'required'), "
            "or use a network that only the cluster reaches and set the option insecure (--insecure), or stay on "
            "127.0.0.1",
        )


def _check_tls(config: Options) -> None:
    """The further ports with TLS."""
    if not config.tls:
        return
    tls = config.tls_options()
    useless = [name for name in ("port", "probe_port") if tls.mode == "required" and getattr(tls, name)]
    if useless:
        raise config.wrong(
            ("tls", useless[0]),
            f"in mode 'required' the option {useless[0]} itself has TLS; remove this, or set mode = 'both'",
        )
    if tls.http_port and config.http == "off":
        raise config.wrong(("tls", "http_port"), "the option http opens no port; set it, or remove this")


def _check_http(config: Options) -> None:
    if config.http == "off":
        for option in ("http_host", "http_hosts"):
            if getattr(config, option):
                raise config.wrong((option,), "the option http opens no port; set it, or remove this")


def _check_road(config: Options) -> None:
    for option in ("road_port", "gateway_road_port"):
        if config.road == "grpc" and getattr(config, option):
            raise config.wrong(
                (option,), "this port is opened only with the option road = 'tcp'; add it, or remove this"
            )


def _check_storages(config: Options) -> None:
    if config.storage and "default" in config.storages:
        raise config.wrong(
            ("storages", "default"), "the option 'storage' gives the default storage, too; remove one of them"
        )


def _check_labels(config: Options) -> None:
    for label in config.labels:
        if label.partition("=")[0] == REVISION:
            raise config.wrong(("labels",), f"{label!r} is made by the option revision; set that, and remove it here")


def _check_actions(config: Options) -> None:
    known = {*map(str, Action), "*"}
    for name in config.actions:
        if name not in known:
            raise config.wrong(("actions",), f"{name!r} is no action; the actions are {', '.join(sorted(known))}")


def _check_tokens(config: Options) -> None:
    given = [(option, getattr(config, option)) for option in sorted(TOKENS) if getattr(config, option)]
    for number, (option, token) in enumerate(given):
        for other, earlier in given[:number]:
            if token == earlier:
                raise config.wrong((option,), f"the option {other!r} has the same token; each role needs its own")
