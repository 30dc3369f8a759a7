"""The items of a streamed call with filters around it (`filtering.py`): filters get an async iterator, and return one.

The iterators of all filters, and the generator of the method, end with the enumeration, also if a filter leaves one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

from grange.errors import CallError
from grange.grains.filters import Call
from grange.runtime.requests.plan import StreamPlan


def as_items(call: Call, result: object) -> AsyncIterable[Any]:
    """What a filter returned, if a streamed method could have. Raises TypeError."""
    if isinstance(result, AsyncIterable):
        return result  # pyright: ignore[reportUnknownVariableType]
    raise TypeError(
        f"{call!r} streams its results: proceed() returns an async iterator and a filter must return one, "
        f"not {result!r:.100}"
    )


def end_with(ends: AsyncExitStack, result: object) -> None:
    """Have what a step of the filters returned end with these."""
    close: Callable[[], Awaitable[None]] | None = getattr(result, "aclose", None)
    if close is not None:
        ends.push_async_callback(close)


async def ending(items: AsyncIterable[Any], ends: AsyncExitStack) -> AsyncGenerator[Any, None]:
    """These items; at their end, those of `ends` end too."""
    async with ends:
        async for item in items:
            yield item


async def reporting(
    items: AsyncGenerator[Any, None], failed: Callable[[BaseException], None]
) -> AsyncGenerator[Any, None]:
    """These items. `failed` gets the error that leaves their generator, also if a filter hides it."""
    try:
        async with aclosing(items):
            async for item in items:
                yield item
    except BaseException as error:
        failed(error)
        raise


async def checked(items: AsyncIterable[Any], plan: StreamPlan, call: Call) -> AsyncGenerator[Any, None]:
    """These items of an outgoing filter, as a callee could have sent them. Raises TypeError."""
    async for item in items:
        try:
            sent = plan.isolate_item(item)
        except CallError as error:
            text = f"a filter of {call!r} made an item that does not fit: {error.__cause__ or error}"
            raise TypeError(text) from None
        yield sent
