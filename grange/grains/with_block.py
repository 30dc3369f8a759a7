"""WithBlock, the base class of what works only in a `with`: it warns when it was made without one."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar


class WithBlock(ABC):
    """A context manager for one `with`. One that is dropped unused warns, as a coroutine does that was not awaited."""

    __slots__ = ("_begun",)
    FORM: ClassVar[str]
    """How to write it, for the warning."""

    def __init__(self) -> None:
        self._begun = False

    def __enter__(self) -> None:
        """Begin. Raises RuntimeError for a second use."""
        if self._begun:
            raise RuntimeError(f"this block has begun already; make a new one: `with {self.FORM}:`")
        self._begun = True
        self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def __del__(self) -> None:
        if not getattr(self, "_begun", True):  # it has none if its arguments were refused
            warnings.warn(f"{self.FORM} has no effect without a block: write `with {self.FORM}:`", RuntimeWarning, 2)

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...
