"""Finds the reply to a committed write in the bytes of a store's protocol, so that the proxy can lose it. Pure."""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Callable

WRITES = re.compile(rb"\s*(INSERT|UPDATE|DELETE)\b|.*\bgrange_(write|apply|commit)\(", re.DOTALL)
"""Statements that change state: plain ones, and the function of grange's storage."""

SCRIPTS = re.compile(rb"\r\nEVAL(SHA)?\r\n", re.IGNORECASE)
"""The commands of Redis that run a script."""

PROTOCOL_3 = 196608
BARE_ANSWER = frozenset({80877103, 80877104})
"""Requests for encryption; the answer is one byte and no message."""

Chosen = Callable[[], bool]
"""Called once for each reply that could be lost; True loses it."""


class LostCommit:
    """Postgres: loses all bytes from the completion of a write on; sprung once the write is committed.

    The server commits before it reports that it is ready for the next query (`Z`, not in a transaction), so the trap
    waits for that report. The answer to a refused write passes.
    """

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self.sprung = False
        self._requests = b""
        self._answers = b""
        self._greeted = False
        self._bare = 0
        self._prepared: dict[bytes, bool] = {}
        self._bound = False
        self._writes: deque[bool] = deque()
        self._caught = False

    def up(self, chunk: bytes) -> bytes:
        self._requests += chunk
        while not self._greeted and len(self._requests) >= 8:
            size, code = struct.unpack("!II", self._requests[:8])
            if len(self._requests) < size:
                return chunk
            self._requests = self._requests[size:]
            self._bare += code in BARE_ANSWER
            self._greeted = code == PROTOCOL_3
        if self._greeted:
            messages, self._requests = split(self._requests)
            for message in messages:
                self._request(message[:1], message[5:])
        return chunk

    def down(self, chunk: bytes) -> bytes:
        bare = min(self._bare, len(chunk))
        self._bare -= bare
        messages, self._answers = split(self._answers + chunk[bare:])
        passed = chunk[:bare]
        for message in messages:
            if not self.sprung:
                passed += self._answer(message)
        return passed

    def _request(self, kind: bytes, body: bytes) -> None:
        if kind == b"P":
            name, statement, _ = body.split(b"\0", 2)
            self._prepared[name] = WRITES.match(statement) is not None
        elif kind == b"B":
            self._bound = self._prepared.get(body.split(b"\0", 2)[1], False)
        elif kind in (b"E", b"Q"):
            self._writes.append(self._bound if kind == b"E" else WRITES.match(body) is not None)

    def _answer(self, message: bytes) -> bytes:
        """The part of this message that passes."""
        kind = message[:1]
        if kind in (b"C", b"E", b"I", b"s") and self._writes:
            written = self._writes.popleft()
            # `s`: a driver that asked for one row got it, so the function has run. The commit follows.
            if kind in (b"C", b"s") and written and self._chosen():
                self._caught = True
        self.sprung = self._caught and message[:1] + message[5:] == b"ZI"
        return b"" if self._caught else message


class LostReply:
    """Redis: the reply to a script is lost, after the server has run it. Scripts of the trial at a start pass."""

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self.sprung = False
        self._asked = False
        self._owed = False

    def up(self, chunk: bytes) -> bytes:
        if SCRIPTS.search(chunk) and b":trial-" not in chunk:
            self._asked = self._owed or self._chosen()
            self._owed = False
        return chunk

    def down(self, chunk: bytes) -> bytes:
        if not self._asked:
            return chunk
        if chunk.startswith(b"-NOSCRIPT"):  # the script was not run, and the client sends it again
            self._asked, self._owed = False, True
            return chunk
        self.sprung = True
        return b""


def split(received: bytes) -> tuple[list[bytes], bytes]:
    """Split into whole messages of Postgres and the rest. A message: type, length in four bytes, body."""
    messages: list[bytes] = []
    while len(received) >= 5:
        size = 1 + struct.unpack("!I", received[1:5])[0]
        if len(received) < size:
            break
        messages.append(received[:size])
        received = received[size:]
    return messages, received
