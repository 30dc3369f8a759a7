"""Whether something may go wrong at this moment of a simulation. Grains that fail on purpose ask it."""

from __future__ import annotations


class Troubles:
    """`may_occur`: faults are injected now. False in a calm run, and in the quiet time at the end of each run."""

    def __init__(self, may_occur: bool) -> None:
        self.may_occur = may_occur
