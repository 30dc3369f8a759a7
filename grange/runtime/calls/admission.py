"""Limits the memory that peers control: requests in progress, their arguments, and answers that wait. Pure.

There is one `Admission` per silo and one `Share` per connection. A request is refused if too much is in progress. It
waits undelivered while answers to its connection are unread, while its arguments would take too much memory beside
others, or while the answers expected of the requests that run would. Peers that read their answers wait for nothing.

The size of an answer is known only when it exists, so `AnswerSizes` remembers the largest recent one of each method.
"""

from __future__ import annotations

import msgspec

from grange.proto.message import Encoding, Request
from grange.runtime.options import RuntimeOptions
from grange.runtime.system_target import SYSTEM_TYPE

MIB = 1024 * 1024

LARGE = 64 * 1024
"""Bytes; smaller answers and arguments never make a request wait: their number is limited instead."""

UNKNOWN = 2 * MIB
"""Bytes expected of a method that has not answered yet: half of the largest answer."""

REQUEST_OVERHEAD = 512
"""Bytes of the objects of one request in progress, apart from its arguments and its context."""

FIRST_WINDOW = 16 * MIB
"""Bytes of large answers that may be expected at once on a connection that has not read any yet."""

ARGUMENTS_WINDOW = 32 * MIB
"""Bytes that the large arguments of one connection may take at once when they are decoded."""

CONTAINER = 64
"""Bytes of an empty list or mapping in memory; it may have one byte on the wire."""

ITEM = 8
"""Bytes of a small item in a list, such as None; it may have one byte on the wire."""

_ARRAY = msgspec.msgpack.Decoder(list[msgspec.Raw])

_SMALL_CONTAINERS = bytes(range(0x80, 0xA0))
"""First bytes of small arrays and mappings in MessagePack."""

_OPAQUE = frozenset(bytes([first]) for first in (0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB))
"""First bytes of long bytes and texts in MessagePack."""


class AnswerSizes:
    """The answer sizes of a silo's methods, in bytes. It holds methods that have answered, so peers cannot fill it."""

    def __init__(self) -> None:
        self._largest: dict[tuple[str, str], int] = {}

    def expected(self, request: Request) -> int:
        """The bytes to expect of an answer that may be large; 0 for a small one."""
        largest = self._largest.get(_method(request), UNKNOWN)
        return largest if largest >= LARGE and not request.one_way else 0

    def saw(self, request: Request, size: int) -> None:
        """An answer of this size was made. Large sizes are forgotten slowly."""
        method = _method(request)
        largest = self._largest.get(method, 0)
        if size > largest or method not in self._largest:
            self._largest[method] = size
        elif largest >= LARGE:
            self._largest[method] = largest - (largest - size) // 16


class Admission:
    """The memory that peers control in one silo. `requests` and `arguments` (bytes) are in progress; `answers` wait."""

    def __init__(self, options: RuntimeOptions) -> None:
        self.options = options
        self.sizes = AnswerSizes()
        self.requests = 0
        self.request_bytes = 0
        self.arguments = 0
        self.answers = 0


class Share:
    """The part of one connection. The counts are those of `Admission`; `expected` are bytes of answers to come.

    `window` is the most that may be expected at once. It doubles each time all answers have been read, and starts again
    when answers wait too long.
    """

    __slots__ = ("_silo", "answers", "arguments", "expected", "request_bytes", "requests", "window")

    def __init__(self, silo: Admission) -> None:
        self._silo = silo
        self.requests = 0
        self.request_bytes = 0
        self.arguments = 0
        self.answers = 0
        self.expected = 0
        self.window = FIRST_WINDOW

    def take(self, size: int) -> str | None:
        """Count a request of `size` bytes as in progress, or return the reason why it must be refused."""
        silo, options = self._silo, self._silo.options
        if silo.requests >= options.admission_limit or silo.request_bytes >= options.admission_bytes:
            return "the silo has too many requests in progress"
        if self.requests >= options.connection_requests or self.request_bytes >= options.connection_bytes:
            return "this connection has too many requests in progress"
        silo.requests += 1
        self.requests += 1
        silo.request_bytes += size
        self.request_bytes += size
        return None

    def give_back(self, size: int) -> None:
        """The request is no longer in progress."""
        self._silo.requests -= 1
        self.requests -= 1
        self._silo.request_bytes -= size
        self.request_bytes -= size

    @property
    def answers_wait(self) -> bool:
        """Whether this connection must read before more of its requests start, because the silo holds many answers."""
        return self.answers > 0 and self._silo.answers >= self._silo.options.answer_bytes

    def may_start(self, arguments: int, expected: int) -> bool:
        """Whether a request may start whose arguments and answer take this many bytes."""
        if self.answers_wait:
            return False
        if expected and self.expected and self.answers + self.expected + expected > self.window:
            return False
        if arguments < LARGE:
            return True
        if self.arguments and self.arguments + arguments > ARGUMENTS_WINDOW:
            return False
        return not self._silo.arguments or self._silo.arguments + arguments <= self._silo.options.admission_bytes

    def start(self, arguments: int, expected: int) -> None:
        """Count a request as started."""
        if arguments >= LARGE:
            self.arguments += arguments
            self._silo.arguments += arguments
        self.expected += expected

    def end(self, arguments: int, expected: int) -> None:
        """The request that started has its outcome, or waits again."""
        if arguments >= LARGE:
            self.arguments -= arguments
            self._silo.arguments -= arguments
        self.expected -= expected

    def set_answers(self, size: int, full: bool) -> None:
        """Answers of `size` bytes wait for the connection; `full`: that is the most it may hold."""
        if full:
            self.window = FIRST_WINDOW
        elif size == 0 and self.answers >= LARGE:
            self.window = max(self.window, min(2 * self.window, self._silo.options.answer_bytes))
        self._silo.answers += size - self.answers
        self.answers = size

    def widen(self) -> None:
        """Let more requests run: all answers are read, and those that run may depend on those that wait."""
        if not self.answers:
            self.window = min(2 * self.window, 1024 * self._silo.options.answer_bytes)


def _method(request: Request) -> tuple[str, str]:
    """The grain type and method; for a question to a system target, its service."""
    grain_id = request.grain_id
    return grain_id.type, request.method if grain_id.type != SYSTEM_TYPE else grain_id.key


def size_of(request: Request) -> int:
    """The bytes that a request in progress takes."""
    return len(request.args) + len(request.context) + REQUEST_OVERHEAD


def decoded_size(request: Request, limit: int) -> int:
    """An estimate of the bytes that the arguments take when they are decoded; at most half of `limit`.

    One byte may become an empty list of 64 bytes, and any other byte an item of 8 bytes in a list. Texts and bytes that
    are arguments themselves stay as long as they are.
    """
    args = request.args
    if len(args) < LARGE:
        return len(args)
    if request.encoding is Encoding.JSON:
        items, containers = args.count(b","), args.count(b"[") + args.count(b"{")
        return min(len(args) + ITEM * items + CONTAINER * containers, limit // 2)
    size = 0
    for part in _parts(args):
        size += len(part)
        if part[:1] not in _OPAQUE:
            containers = len(part) - len(part.translate(None, _SMALL_CONTAINERS))
            size += ITEM * (len(part) - containers) + CONTAINER * containers
    return min(size, limit // 2)


def _parts(args: bytes) -> list[bytes]:
    """The encoded arguments, one by one; the whole if they are no array. It makes no objects of their contents."""
    try:
        return [bytes(part) for part in _ARRAY.decode(args)]
    except (msgspec.DecodeError, RecursionError):
        return [args]
