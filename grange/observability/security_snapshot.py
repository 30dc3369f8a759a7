"""The figures of the security of a silo, parts of its `Snapshot`: certificates, secrets, its audit. Pure."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class CertificateSnapshot(msgspec.Struct, frozen=True):
    """The certificate of this silo; all 0 without TLS.

    `ends` and `authority_ends`: Unix seconds at which it ends, and the first authority above it. `taken` and `refused`
    are new contents of its files. `revoked`: fingerprints in the list of revoked certificates.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"ends", "authority_ends", "revoked"})

    ends: float = 0.0
    authority_ends: float = 0.0
    taken: int = 0
    refused: int = 0
    revoked: int = 0


class TlsSnapshot(msgspec.Struct, frozen=True):
    """Connections with TLS and without, and those that were replaced; all empty for a silo without TLS.

    By the kind of peer ("silo", "client"): `plain` are the open connections without TLS that this silo has accepted,
    `accepted_plain` all of them since its start. `refused` are the peers that its ports refused because of TLS or of
    their certificate, by reason.

    `renewed`: connections that this silo opened and replaced by others. `asked`: those that it accepted, and whose peer
    it asked for others; `cut`: those that it cut because of their certificates or their age; both by reason.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"plain"})

    plain: dict[str, int] = {}
    accepted_plain: dict[str, int] = {}
    refused: dict[str, int] = {}
    renewed: int = 0
    asked: dict[str, int] = {}
    cut: dict[str, int] = {}


class SecretSnapshot(msgspec.Struct, frozen=True):
    """The secrets of this silo by source: `read` with success, `failed`. `refused`: logins that a store refused.

    `unread`: secrets that cannot be read now, whose last good values are used.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"unread"})

    read: dict[str, int] = {}
    failed: dict[str, int] = {}
    unread: dict[str, int] = {}
    refused: int = 0


class AuditSnapshot(msgspec.Struct, frozen=True):
    """The audit of this silo: `rows` and `denials` by kind; `suppressed` denials had no row.

    `waiting` rows are not in its table yet, `lost` ones will not come there.
    """

    gauges: ClassVar[frozenset[str]] = frozenset({"waiting"})

    rows: dict[str, int] = {}
    denials: dict[str, int] = {}
    suppressed: int = 0
    waiting: int = 0
    lost: int = 0
