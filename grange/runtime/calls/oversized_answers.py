"""What a caller gets in place of an answer that is too large for its connection: it must get an answer."""

from __future__ import annotations

from collections.abc import Callable

from grange.errors import InvalidResult, PayloadTooLarge
from grange.proto.message import Rejection, Response


def replaced(
    answer: Response | Rejection, error: PayloadTooLarge, fault: Callable[[BaseException], bytes]
) -> Response | Rejection:
    """The answer without what makes it large. `fault` turns an error into the bytes of the wire."""
    if isinstance(answer, Rejection):
        return Rejection(answer.id, answer.reason, "the reason is too long to be sent", answer.hint)
    text = f"it was executed, but its answer cannot be sent: {error}"
    return Response(answer.id, fault(InvalidResult(text)), failed=True)
