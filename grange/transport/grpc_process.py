"""The one process of a family of forks in which gRPC is used.

gRPC keeps threads, an epoll set and a pair of sockets per process. A fork inherits the sockets and the set without the
threads. If it used gRPC too, parent and child would take each other's wake-ups: the parent's silo became deaf, and the
child waited for answers that never came, or was aborted. See ADR 0060.
"""

from __future__ import annotations

import os

from grange.errors import WrongLoop


class GrpcProcess:
    """Remembers the first process that used gRPC, also in its forks. `enter` refuses every other process."""

    def __init__(self) -> None:
        self._first: int | None = None

    def enter(self) -> None:
        """Called before gRPC is touched. Raises WrongLoop in a fork of a process that has used gRPC before."""
        process = os.getpid()
        if self._first is None:
            self._first = process
        elif self._first != process:
            raise WrongLoop(
                f"process {process} cannot run a client or silo: it was forked from process {self._first}, which had "
                "run one before, and gRPC does not survive a fork. Start the process with the method spawn or "
                "forkserver of multiprocessing, or fork before the first client or silo starts (gunicorn: enter the "
                "client in the worker; Celery: in worker_process_init)"
            )


GRPC_PROCESS = GrpcProcess()
"""The state of this process, so it cannot belong to an object of one client or silo: ADR 0060."""
