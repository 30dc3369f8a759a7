"""The options of TLS, the same for silos and clients."""

from __future__ import annotations

from pathlib import Path

import msgspec

from grange.errors import ConfigurationError
from grange.option_ranges import OutOfRange, check_ranges, values_and_defaults
from grange.proto.identity import parse_spiffe

PORTS = ("port", "gateway_port", "probe_port", "http_port")
FILES = ("certificate", "key", "ca")

MODES = ("required", "both")
"""Whether plain connections are refused, or go on beside TLS during a rollout."""

OF_SILOS = ("mode", *PORTS, "reauthenticate_after", "speaks_for")
"""The options that only silos have."""

LAST_PORT = 65_535


class TlsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a silo or client for mutual TLS, and how connections use them: the table `[tls]`."""

    certificate: str = ""
    """Path of the certificate, PEM: our own one first, then those of the authorities between it and one in `ca`. The
    files may be replaced at any time, also as Kubernetes does it, by a link to another folder."""

    key: str = ""
    """Path of the certificate's private key, PEM, without a pass phrase. Only the user of the process may read it."""

    ca: str = ""
    """Path of the authorities that sign the certificates of the cluster, PEM. It may hold several, because a new
    authority is trusted by all before the first certificate that it signs."""

    mode: str = "required"
    """`required`: each connection uses TLS. `both`: for the rollout of TLS, plain connections go on and are counted,
    and connections with TLS have ports of their own, which the membership table names."""

    revoked: str = ""
    """Path of the revoked certificates: the SHA-256 fingerprint of one in each line, `#` begins a comment. Empty: none.
    A connection with one of them is closed; certificates that live for a day hardly need it."""

    port: int = 0
    """Port with TLS for silos in mode `both`; 0 takes a free one. In mode `required` the silo's port has TLS itself."""

    gateway_port: int = 0
    """Port with TLS for clients in mode `both`; 0 takes a free one. In mode `required` it is a further port, for
    clients that were moved to it during `both`; 0: none."""

    probe_port: int = 0
    """Port with TLS for probes in mode `both`; 0 takes a free one."""

    http_port: int = 0
    """Port with TLS for the dashboard and metrics in mode `both`; 0 takes a free one. In mode `required` it is a
    further port; 0: none."""

    reauthenticate_after: float = 3600.0
    """Seconds, 10 % more or less at random, until a connection is replaced by a new one, so that each peer proves
    anew that its certificate is valid. No call fails by it."""

    check_every: float = 10.0
    """Seconds between two looks at the files. Contents are compared, because a change of a link is not reported by
    every file system; reading four small files costs less than a millisecond."""

    speaks_for: tuple[str, ...] = ()
    """Identities of clients that may name the identity of each call, such as `spiffe://shop/client/web`: a web server
    calls for its users. The calls of others have the identity of their connection."""

    def __post_init__(self) -> None:
        values, defaults = values_and_defaults(self)
        numbers = {name: value for name, value in defaults.items() if isinstance(value, int | float)}
        check_ranges("tls", values, numbers, zero=PORTS)
        for name in PORTS:
            if values[name] > LAST_PORT:
                raise OutOfRange(f"tls option {name} must be a port, at most {LAST_PORT}, not {values[name]}")
        if self.mode not in MODES:
            raise OutOfRange(f"tls option mode must be {' or '.join(MODES)}, not {self.mode!r:.100}")
        _check_speakers(self.speaks_for)
        missing = [name for name in FILES if not values[name]]
        # A network in memory has certificates without files, so `speaks_for` may stand alone; `silo/tls.py` checks it.
        if missing and any(values[name] != default for name, default in defaults.items() if name != "speaks_for"):
            raise ConfigurationError(f"tls option {missing[0]} is missing; TLS needs {', '.join(FILES)}")

    @classmethod
    def of_folder(cls, folder: str | Path) -> TlsOptions:
        """The files of a folder by the names that Kubernetes and cert-manager give them."""
        certificate, key, ca = (str(Path(folder) / name) for name in ("tls.crt", "tls.key", "ca.crt"))
        return cls(certificate=certificate, key=key, ca=ca)

    @property
    def is_given(self) -> bool:
        """Whether there is TLS: the files are named."""
        return bool(self.certificate)

    def check_for_client(self) -> None:
        """Raise ConfigurationError for an option that has no effect in a client."""
        values, defaults = values_and_defaults(self)
        useless = [name for name in OF_SILOS if values[name] != defaults[name]]
        if useless:
            raise ConfigurationError(f"tls option {useless[0]} is an option of silos and has no effect in a client")
        if not self.is_given:
            raise ConfigurationError(f"tls option {FILES[0]} is missing; TLS needs {', '.join(FILES)}")


def _check_speakers(speakers: tuple[str, ...]) -> None:
    for each in speakers:
        try:
            role = parse_spiffe(each).role
        except ValueError as error:
            raise OutOfRange(f"tls option speaks_for: {error}") from None
        if role == "silo":
            raise OutOfRange(f"tls option speaks_for names clients, and {each!r} is a silo, which is believed anyway")


DEFAULT_TLS = TlsOptions()
"""No TLS."""
