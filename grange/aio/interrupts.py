"""Tells Ctrl-C from a `KeyboardInterrupt` that code raises itself."""

from __future__ import annotations

import signal
import threading


def is_ctrl_c(error: BaseException) -> bool:
    """Whether this may be Ctrl-C, which must end the program and not only the code that it happened to interrupt.

    Python's own handler raises KeyboardInterrupt into the code that runs. `asyncio.run` and the command line install
    handlers that ask for an orderly end; with these, a KeyboardInterrupt of a grain is an error like any other.
    """
    return (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
