"""Numbers with their nouns: `1 call`, `2 calls`. Pure."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """The number with `one`, or with `many` (default: `one` with an s) if it is not 1. Thousands have commas."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
