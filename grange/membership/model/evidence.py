"""The kinds of evidence on which a silo is declared dead. ADR 0107 argues what each of them proves."""

from __future__ import annotations

import enum


class Evidence(enum.StrEnum):
    """Why a silo counts as dead. The text is written into its row, for people.

    SILENT: it answers no probes. REFUSED: its ports refuse new connections, as the kernel of a process that has ended
    does; a firewall does so, too, and then the silo lives. GONE: a silo on its host finds that its process has ended.
    """

    SILENT = "it does not answer"
    REFUSED = "it refuses connections"
    GONE = "its process is gone"
