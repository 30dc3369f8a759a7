"""How a simulated database is today. Set by the nemesis and by tests, met in `stores.py`. Pure."""

from __future__ import annotations

import msgspec


class Weather(msgspec.Struct):
    """What one silo meets in one database. Delays are in seconds, chances between 0 and 1."""

    down: bool = False
    delay: float = 0.0
    failure: float = 0.0
    lost_answer: float = 0.0
