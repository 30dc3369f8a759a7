"""When is a write committed whose reply shall be lost? Read from the bytes of the store's protocol. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

WRITES = (b"INSERT", b"UPDATE", b"DELETE", b"COMMIT")
ASKS_FOR_ENCRYPTION = (struct.pack("!II", 8, 80877103), struct.pack("!II", 8, 80877104))

Chosen = Callable[[], bool]
"""Asked once for each reply that could be lost: whether it is to be."""


@dataclass
class LostCommit:
    """Postgres: from the message that says how many rows a write changed, nothing passes; sprung once it is committed.

    The server commits before it says that it is ready for the next query (`Z`, not in a transaction), so the trap waits
    for that. A write that changed no row is let through.
    """

    chosen: Chosen
    sprung: bool = False
    _caught: bool = False
    _rest: bytes = b""
    _asked_for_encryption: int = 0

    def up(self, chunk: bytes) -> bytes:
        self._asked_for_encryption += chunk in ASKS_FOR_ENCRYPTION
        return chunk

    def down(self, chunk: bytes) -> bytes:
        """Backend messages: a type, the length of the rest as four bytes with themselves, the rest."""
        bare = min(self._asked_for_encryption, len(chunk))  # its answer is one byte that is no message
        self._asked_for_encryption -= bare
        received, passed = self._rest + chunk[bare:], chunk[:bare]
        while len(received) >= 5 and not self.sprung:
            size = 1 + struct.unpack("!I", received[1:5])[0]
            if len(received) < size:
                break
            message, received = received[:size], received[size:]
            self._look(message)
            if not self._caught:
                passed += message
        self._rest = received
        return passed

    def _look(self, message: bytes) -> None:
        kind, body = message[:1], message[5:]
        if self._caught:
            self.sprung = kind == b"Z" and body == b"I"
        elif kind == b"C" and body.startswith(WRITES) and not body.rstrip(b"\0").endswith(b" 0"):
            self._caught = self.chosen()


@dataclass
class LostReply:
    """Redis: the reply to a script is lost, after the server has run it."""

    chosen: Chosen
    sprung: bool = False
    _asked: bool = False
    _owed: bool = False

    def up(self, chunk: bytes) -> bytes:
        if b"EVALSHA" in chunk.upper():
            self._asked = self._owed or self.chosen()
            self._owed = False
        return chunk

    def down(self, chunk: bytes) -> bytes:
        if not self._asked:
            return chunk
        if chunk.startswith(b"-NOSCRIPT"):  # it was not run, and will come again
            self._asked, self._owed = False, True
            return chunk
        self.sprung = True
        return b""
