"""Virtual time, and for the tests that make real calls the processes of `tests/runtime`."""

from tests.runtime.conftest import line, process, time

__all__ = ["line", "process", "time"]
