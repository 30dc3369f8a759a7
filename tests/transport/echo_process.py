"""A process with one listener that answers every request; prints its port. Started by test_processes.

Its arguments are the kind of network, and with TLS the folder with its certificate. It blocks its event loop for the
seconds that a request names.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from grange.proto.message import Message
from tests.transport.net import Net
from tests.transport.pairs import StoredPairs


def block(message: Message) -> None:
    """Block the event loop if the request says so."""
    args = getattr(message, "args", b"")
    if args.startswith(b"block "):
        time.sleep(float(args[6:]))


async def serve(kind: str, folder: str = "") -> None:
    """Listen until this process is killed."""
    net = Net(kind)
    if folder:
        net.pairs = StoredPairs(Path(folder))
    silo = await net.silo(net.transport(), echo=True)
    silo.on_message = block
    print(silo.address.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
