"""Sets Python's garbage collector for a process that is one silo and nothing else. `grange run` calls it.

A full pass looks at every container object of the process, and the event loop stands still meanwhile. With Python's
own thresholds, ten thousand calls or activations that begin in one moment cause several full passes, of 35 to 190 ms
each on a busy machine. In a process that merely contains a silo, the settings belong to the application.
"""

from __future__ import annotations

import gc

THRESHOLDS = (5_000, 5, 40)
"""Look at new objects after 5,000, at those that survived after 25,000 (about 10 ms), at all after a million at least.
"""


def settle(before: tuple[int, int, int]) -> None:
    """Exempt all present objects from collections, and collect less often from now on.

    `before` are the thresholds from before the application's module was imported. Does nothing if the module has set
    others, or has switched the collector off.
    """
    if gc.isenabled() and gc.get_threshold() == before:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
