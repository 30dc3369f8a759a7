"""A silo of grains that work for a moment: see `benchmarks/overload.py`."""

from __future__ import annotations

from benchmarks.overload import Worker
from grange.silo import Silo

silo = Silo([Worker])
