"""Limits the memory that peers control: requests in progress, their arguments, and answers that wait. Pure.

There is one `Admission` per silo and one `Share` per connection. A request is refused if too much is in progress. It
waits undelivered while answers to its connection are unread, while its arguments would take too much memory beside
others, or while the answers expected of the requests that run would. Peers that read their answers wait for nothing.

The size of an answer is known only when it exists, so `AnswerSizes` remembers the largest recent one of each method.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from grange.observability.counters import CallFigures
from grange.proto.message import Encoding, Request
from grange.runtime.calls.allowances import Allowances
from grange.runtime.calls.load_shedding import LoadShedder
from grange.runtime.options import RuntimeOptions
from grange.runtime.system_target import SYSTEM_TYPE

Method = tuple[str, str]
"""Grain type and method, or "grange.system" and service."""

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

SYSTEM_RESERVE = 1000
"""Questions to the silo itself, such as those of an operator, for which there is room when it has too many requests."""

RESERVED_SIZE = 4096
"""Bytes of each of these questions for which there is room."""

_ARRAY = msgspec.msgpack.Decoder(list[msgspec.Raw])

_SMALL_CONTAINERS = bytes(range(0x80, 0xA0))
"""First bytes of small arrays and mappings in MessagePack."""

_OPAQUE = frozenset(bytes([first]) for first in (0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB))
"""First bytes of long bytes and texts in MessagePack."""


class Weighed(msgspec.Struct, gc=False):
    """A request whose sizes were looked at, and its deadline in loop time.

    size: bytes of the request in progress; arguments: of its arguments, decoded; expected: of an answer that may be
    large. See `Share`.
    """

    request: Request
    deadline: float
    size: int
    arguments: int
    expected: int


class AnswerSizes:
    """The answer sizes of a silo's methods, in bytes. It holds methods that have answered, so peers cannot fill it.

    `small` are the methods whose recent answers were all smaller than `LARGE`. `has_small_answer` says that the type of
    the result excludes others.
    """

    def __init__(self, has_small_answer: Callable[[Request], bool]) -> None:
        self._has_small_answer = has_small_answer
        self.small: set[Method] = set()
        self._large: dict[Method, int] = {}

    def expected(self, request: Request) -> int:
        """The bytes to expect of an answer that may be large; 0 for a small one."""
        method = method_of(request)
        if method in self.small or request.one_way:
            return 0
        if method not in self._large and self._has_small_answer(request):
            self.small.add(method)
            return 0
        return self._large.get(method, UNKNOWN)

    def saw(self, request: Request, size: int) -> None:
        """An answer of this size was made. Large sizes are forgotten slowly."""
        method = method_of(request)
        largest = self._large.get(method, 0)
        largest = size if size > largest else largest - (largest - size) // 16
        if largest >= LARGE:
            self._large[method] = largest
            self.small.discard(method)
        else:
            self._large.pop(method, None)
            self.small.add(method)


class Admission:
    """The memory that peers control in one silo, in bytes apart from `requests`, the number in progress.

    `arguments` are those of turns, decoded; `expected` are answers to come; `answers` wait to be read. `crowded`: peers
    that leave answers unread must read, and lose their connections if they read nothing.
    """

    def __init__(
        self,
        options: RuntimeOptions,
        has_small_answer: Callable[[Request], bool] = lambda _: False,
        figures: CallFigures | None = None,
    ) -> None:
        self.options = options
        self.figures = CallFigures() if figures is None else figures
        self.sizes = AnswerSizes(has_small_answer)
        self.shedder = LoadShedder(options.shed_lag)
        self.allowances = Allowances(options)
        self.most_requests = options.admission_limit
        self.most_bytes = options.admission_bytes
        self.most_decoded = options.admission_bytes // 2  # of the arguments of one request
        self.requests = 0
        self.request_bytes = 0
        self.arguments = 0
        self.expected = 0
        self.answers = 0
        self.crowded = False


class Share:
    """The part of one connection, counted as in `Admission`.

    `window` is the most that may be expected at once. It doubles each time all answers have been read, and starts again
    when too many wait. A peer whose window has not grown also shares the window of the whole silo.
    """

    __slots__ = (
        "_most_bytes", "_most_requests", "_silo", "answers", "arguments", "expected", "request_bytes", "requests",
        "window",
    )  # fmt: skip

    def __init__(self, silo: Admission) -> None:
        self._silo = silo
        self._most_requests = silo.options.connection_requests
        self._most_bytes = silo.options.connection_bytes
        self.requests = 0
        self.request_bytes = 0
        self.arguments = 0
        self.answers = 0
        self.expected = 0
        self.window = FIRST_WINDOW

    def room(self) -> tuple[int, int]:
        """The number of requests that `take` would count for certain, and their bytes apart from those of the last."""
        silo = self._silo
        return (
            min(silo.most_requests - silo.requests, self._most_requests - self.requests),
            min(silo.most_bytes - silo.request_bytes, self._most_bytes - self.request_bytes),
        )

    def add(self, number: int, size: int) -> None:
        """Count requests of `size` bytes in total as in progress; there is `room` for them."""
        silo = self._silo
        silo.requests += number
        self.requests += number
        silo.request_bytes += size
        self.request_bytes += size

    def take(self, size: int, reserve: int = 0) -> str | None:
        """Count a request of `size` bytes as in progress, or return the reason why it must be refused.

        `reserve`: the number of requests for which there is room beyond the limits.
        """
        silo, room = self._silo, reserve * RESERVED_SIZE
        if silo.requests >= silo.most_requests + reserve or silo.request_bytes >= silo.most_bytes + room:
            return "the silo has too many requests in progress"
        if self.requests >= self._most_requests + reserve or self.request_bytes >= self._most_bytes + room:
            return "this connection has too many requests in progress"
        self.add(1, size)
        return None

    def give_back(self, size: int) -> None:
        """The request is no longer in progress."""
        silo = self._silo
        silo.requests -= 1
        self.requests -= 1
        silo.request_bytes -= size
        self.request_bytes -= size

    def must_read(self, expected: int) -> bool:
        """Whether answers must be read before a request of this connection may start, because the silo holds many."""
        silo = self._silo
        return silo.crowded and (self.answers > 0 or (expected > 0 and silo.answers >= 2 * silo.options.answer_bytes))

    def may_start(self, arguments: int, expected: int) -> bool:
        """Whether a request may start whose arguments and answer take this many bytes."""
        if self.must_read(expected) or (expected and not self._may_expect(expected)):
            return False
        if arguments < LARGE:
            return True
        if self.arguments and self.arguments + arguments > ARGUMENTS_WINDOW:
            return False
        return not self._silo.arguments or self._silo.arguments + arguments <= self._silo.options.admission_bytes

    def _may_expect(self, expected: int) -> bool:
        if not self.expected:
            return True
        if self.answers + self.expected + expected > self.window:
            return False
        silo = self._silo
        return self.window > FIRST_WINDOW or silo.answers + silo.expected + expected <= silo.options.answer_bytes

    def start(self, arguments: int, expected: int) -> None:
        """Count a request as started."""
        if arguments >= LARGE:
            self.arguments += arguments
            self._silo.arguments += arguments
        self.expected += expected
        self._silo.expected += expected

    def end(self, arguments: int, expected: int) -> None:
        """The request that started has its outcome, or waits again."""
        if arguments >= LARGE:
            self.arguments -= arguments
            self._silo.arguments -= arguments
        self.expected -= expected
        self._silo.expected -= expected

    def set_answers(self, size: int, full: bool) -> None:
        """Answers of `size` bytes wait for the connection; `full`: that is the most it may hold."""
        silo = self._silo
        if full:
            self.window = FIRST_WINDOW
        elif size == 0 and self.answers >= LARGE:
            self.window = max(self.window, min(2 * self.window, silo.options.answer_bytes))
        silo.answers += size - self.answers
        silo.crowded = silo.answers >= silo.options.answer_bytes
        self.answers = size

    def widen(self) -> None:
        """Let more requests run: all answers are read, and those that run may depend on those that wait."""
        if not self.answers:
            self.window = min(2 * self.window, 1024 * self._silo.options.answer_bytes)


def method_of(request: Request) -> Method:
    """The grain type and method; for a question to a system target, its service."""
    grain_id = request.grain_id
    return grain_id.type, request.method if grain_id.type != SYSTEM_TYPE else grain_id.key


def decoded_size(request: Request) -> int:
    """An estimate of the bytes that the arguments take when they are decoded.

    One byte may become an empty list of 64 bytes, and any other byte an item of 8 bytes in a list. Texts and bytes that
    are arguments themselves stay as long as they are.
    """
    args = request.args
    if len(args) < LARGE:
        return len(args)
    if request.encoding is Encoding.JSON:
        items, containers = args.count(b","), args.count(b"[") + args.count(b"{")
        return len(args) + ITEM * items + CONTAINER * containers
    size = 0
    for part in _parts(args):
        size += len(part)
        if part[:1] not in _OPAQUE:
            containers = len(part) - len(part.translate(None, _SMALL_CONTAINERS))
            size += ITEM * (len(part) - containers) + CONTAINER * containers
    return size


def _parts(args: bytes) -> list[bytes]:
    """The encoded arguments, one by one; the whole if they are no array. It makes no objects of their contents."""
    try:
        return [bytes(part) for part in _ARRAY.decode(args)]
    except (msgspec.DecodeError, RecursionError):
        return [args]
