"""Extract `data/january.csv.gz` from the year: `python -m examples.flights.cut_january path/to/flights.csv.zip`.

The header and the lines of January stay unchanged. With the same zlib, each run gives the same bytes.
"""

from __future__ import annotations

import gzip
import sys
import zipfile
from pathlib import Path

from examples.flights.source import JANUARY


def cut(year: Path, january: Path) -> int:
    """Write the flights of January, compressed; returns their number."""
    with zipfile.ZipFile(year) as archive:
        header, *lines = archive.read("flights.csv").splitlines(keepends=True)
    kept = [line for line in lines if line.startswith(b"2013,1,")]
    january.parent.mkdir(parents=True, exist_ok=True)
    january.write_bytes(gzip.compress(header + b"".join(kept), compresslevel=9, mtime=0))
    return len(kept)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(f"{cut(Path(sys.argv[1]), JANUARY):,} flights in {JANUARY.name}")
