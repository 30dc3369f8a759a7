"""The health check of the image: `health.py PATH` asks the admin port of the silo in this container, by HTTP or HTTPS.

It imports nothing of grange, because it runs every few seconds. The certificate is not checked, as a kubelet does not
check it: both ends are in one container, and no secret is sent.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from collections.abc import Iterator

SECONDS = 2.0
"""For each of the two kinds of connections: both fit into the 5 s that the image gives this program."""


def connections(port: int) -> Iterator[http.client.HTTPConnection]:
    """The kind that the variables of the silo say, then the other: the table `[tls]` may stand in `grange.toml`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    tls = http.client.HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=context)
    has_tls = "GRANGE_TLS__CERTIFICATE" in os.environ and os.environ.get("GRANGE_TLS__MODE", "required") == "required"
    yield from (tls, plain) if has_tls else (plain, tls)


def is_well(path: str, port: int) -> bool:
    """Whether the first connection that is answered says 200."""
    for connection in connections(port):
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
    return False


if __name__ == "__main__":
    given = os.environ.get("GRANGE_HTTP", "")
    sys.exit(not is_well(sys.argv[1], int(given) if given.isdecimal() else 8080))
