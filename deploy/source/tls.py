"""Mutual TLS by one value: where a pod gets its certificate, the options of its silo, and the ports of a rollout.

Without a Secret, cert-manager's csi-driver makes a pair for each pod on its node: the key never leaves it, and is no
object of the cluster. Its attributes: https://cert-manager.io/docs/usage/csi-driver/
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from deploy.source.tree import Given, Late, When, has, value

FOLDER = "/run/secrets/tls"
SILO_TLS, PROBE_TLS, GATEWAY_TLS, HTTP_TLS = 11121, 11122, 30443, 8443
"""Ports with TLS beside plain ones in mode `both`. Those for clients and operators stay in mode `required`, so that who
moved to them keeps them."""

ENABLED = has("tls.enabled")
_REQUIRED = '(eq .Values.tls.mode "required")'


def _required(given: Given) -> bool:
    return bool(given.value("tls.enabled")) and given.value("tls.mode") == "required"


REQUIRED = Late(f"and .Values.tls.enabled {_REQUIRED}", _required)
"""No port takes plain connections."""

PLAIN = Late(f"not (and .Values.tls.enabled {_REQUIRED})", lambda given: not _required(given))
BOTH = Late(
    f"and .Values.tls.enabled (not {_REQUIRED})",
    lambda given: bool(given.value("tls.enabled")) and not _required(given),
)
_FROM_SECRET = Late(
    "and .Values.tls.enabled .Values.tls.secretName",
    lambda given: bool(given.value("tls.enabled") and given.value("tls.secretName")),
)
_FROM_ISSUER = Late(
    "and .Values.tls.enabled (not .Values.tls.secretName)",
    lambda given: bool(given.value("tls.enabled") and not given.value("tls.secretName")),
)

PORTS = MappingProxyType({
    "silo-tls": (SILO_TLS, BOTH),
    "probe-tls": (PROBE_TLS, BOTH),
    "gateway-tls": (GATEWAY_TLS, ENABLED),
    "admin-tls": (HTTP_TLS, ENABLED),
})  # fmt: skip
"""Further ports of a pod, each with its condition."""


def server_name() -> Late:
    """`grange.proto.identity.server_name`: the name in the certificates of all silos."""
    return Late(
        'printf "silo.%s.grange" (lower .Values.cluster) | toJson',
        lambda given: f"silo.{given.value('cluster').lower()}.grange",
    )


def volumes(user: int) -> list[When]:
    """The certificate of a pod: from a Secret, else from cert-manager's csi-driver."""
    secret = {"sources": [{"secret": {"name": value("tls.secretName")}}], "defaultMode": 0o440}
    attributes = {
        "issuer-name": value("tls.issuer.name"),
        "issuer-kind": value("tls.issuer.kind"),
        "issuer-group": value("tls.issuer.group"),
        "dns-names": server_name(),
        "uri-sans": Late(
            'printf "spiffe://%s/silo" .Values.cluster | toJson',
            lambda given: f"spiffe://{given.value('cluster')}/silo",
        ),
        "key-usages": "digital signature,key encipherment,server auth,client auth",
        "fs-group": str(user),
    }
    driver = {
        "driver": "csi.cert-manager.io",
        "readOnly": True,
        "volumeAttributes": {f"csi.cert-manager.io/{name}": content for name, content in attributes.items()},
    }
    return [
        When(_FROM_SECRET, {"name": "tls", "projected": secret}),
        When(_FROM_ISSUER, {"name": "tls", "csi": driver}),
    ]


def mount() -> When:
    return When(ENABLED, {"name": "tls", "mountPath": FOLDER, "readOnly": True})


def environment() -> list[When]:
    """The table `[tls]` of the silo. A silo that takes plain connections has to be told that it may."""
    options: dict[str, tuple[Any, Late]] = {
        "GRANGE_INSECURE": ("true", PLAIN),
        "GRANGE_TLS__CERTIFICATE": (f"{FOLDER}/tls.crt", ENABLED),
        "GRANGE_TLS__KEY": (f"{FOLDER}/tls.key", ENABLED),
        "GRANGE_TLS__CA": (f"{FOLDER}/ca.crt", ENABLED),
        "GRANGE_TLS__MODE": (value("tls.mode"), ENABLED),
        "GRANGE_TLS__GATEWAY_PORT": (str(GATEWAY_TLS), ENABLED),
        "GRANGE_TLS__HTTP_PORT": (str(HTTP_TLS), ENABLED),
        "GRANGE_TLS__PORT": (str(SILO_TLS), BOTH),
        "GRANGE_TLS__PROBE_PORT": (str(PROBE_TLS), BOTH),
    }
    return [When(condition, {"name": name, "value": content}) for name, (content, condition) in options.items()]


RULES: list[dict[str, Any]] = [
    {
        "if": {"properties": {"tls": {"properties": {"enabled": {"const": True}}}}},
        "then": {"properties": {"cluster": {"pattern": "^[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?$"}}},
    },
    {
        "if": {
            "properties": {
                "tls": {"properties": {"enabled": {"const": True}, "secretName": {"const": ""}}},
                "serviceMonitor": {"properties": {"enabled": {"const": True}}},
            }
        },
        "then": {"properties": {"serviceMonitor": {"properties": {"caSecret": {"minLength": 1}}}}},
    },
]
"""What the values must be together: the cluster is a label of a DNS name, and Prometheus knows the authority."""
