"""What the system allows a port: its connections, and why it could not be opened, which gRPC does not tell."""

from __future__ import annotations

import errno
import socket
import sys

from grange.errors import ConfigurationError
from grange.proto.ids import endpoint_of

if sys.platform == "win32":

    def _open_files() -> int | None:
        """The most open files that the process may have; None: there is no limit."""
        return None

else:
    import resource

    def _open_files() -> int | None:
        """The most open files that the process may have; None: there is no limit."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return None if files == resource.RLIM_INFINITY else files


def most_connections(wanted: int) -> int:
    """How many connections a port accepts: as many as wanted, and at most half as many as there may be open files.

    A process without a free file can neither accept, nor connect to other silos, nor open its database.
    """
    files = _open_files()
    return wanted if files is None else min(wanted, max(1, files // 2))


class CannotListen(ConfigurationError):
    """A port could not be opened. `is_host_wrong`: the host is at fault, not the port."""

    def __init__(self, message: str, is_host_wrong: bool = False) -> None:
        super().__init__(message)
        self.is_host_wrong = is_host_wrong


def cannot_listen(host: str, port: int) -> CannotListen:
    """The error for a port that gRPC did not open. Called at once after the failure; opens nothing for long."""
    place = f"cannot listen on {endpoint_of(host, port)}"
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a host name"
        return CannotListen(f"{place}: the host cannot be resolved ({reason}); name an address of this machine", True)
    family, kind, protocol, _, address = addresses[0]
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError as error:
        return _explained(place, error)
    return CannotListen(f"{place}: the port was in use a moment ago; choose another port, or 0 for a free one")


def _explained(place: str, error: OSError) -> CannotListen:
    if error.errno == errno.EADDRINUSE:
        return CannotListen(f"{place}: the port is in use; choose another port, or 0 for a free one")
    if error.errno == errno.EACCES:
        return CannotListen(f"{place}: this user may not open the port; choose another port, above 1023")
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return CannotListen(f"{place}: the host is not an address of this machine; choose another host", True)
    return CannotListen(f"{place}: {error.strerror}; choose another port or host")
