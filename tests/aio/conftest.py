"""Virtual time, and the processes of `tests/runtime` for tests that make real calls."""

from tests.runtime.conftest import line, process, time

__all__ = ["line", "process", "time"]
