"""The rows, the groups of rows that share a cluster, and the number of rounds of each row in a full run. Pure."""

from __future__ import annotations

from tests.processes.faults import (
    rows_certificates,
    rows_clocks,
    rows_cuts,
    rows_deaths,
    rows_pauses,
    rows_postgres,
    rows_refusals,
    rows_stores,
)
from tests.processes.faults.round import AGAIN, LONG, SHORT, Pace, Row

KILLS = ("F1", "F47", "F48")
"""Rows whose figure is a median of deaths."""

KILLS_PER_ROUND = 10
"""Kills per round of these: a median needs more samples than rounds. Three rounds are thirty kills."""

SECURED = "certificates"
"""The group whose cluster uses TLS."""

ONE_HOST = "one-host"
"""The group whose silos share one host."""

GROUPS: dict[str, tuple[Row, ...]] = {
    "deaths": rows_deaths.ROWS,
    ONE_HOST: rows_deaths.ON_ONE_HOST,
    "pauses": (*rows_pauses.ROWS, *rows_clocks.ROWS),
    "cuts": (*rows_cuts.ROWS, *rows_refusals.ROWS),
    "stores": (*rows_stores.ROWS, *rows_postgres.ROWS),
    SECURED: rows_certificates.ROWS,
}

OUTAGE = rows_stores.LONG_OUTAGE


def rounds_of(row: Row, rounds: int) -> int:
    """The number of rounds of a row in a run of `rounds` rounds."""
    return rounds * KILLS_PER_ROUND if row.id in KILLS else rounds


def pace_of(row: Row, number: int) -> Pace:
    """The pace of a round: the first round holds its fault long; the thirty kills need no long rounds."""
    if row.id in KILLS:
        return SHORT
    return LONG if number == 0 else AGAIN


def chosen(ids: str) -> dict[str, tuple[Row, ...]]:
    """The groups with only the rows of a comma-separated list; all of them when it is empty. Raises ValueError."""
    wanted = {word.strip().upper() for word in ids.split(",") if word.strip()}
    unknown = sorted(wanted - {row.id for rows in GROUPS.values() for row in rows} - {OUTAGE.id})
    if unknown:
        known = ", ".join(row.id for rows in GROUPS.values() for row in rows)
        raise ValueError(f"no row {', '.join(unknown)}; there are {known} and {OUTAGE.id}")
    picked = {name: tuple(row for row in rows if not wanted or row.id in wanted) for name, rows in GROUPS.items()}
    return {name: rows for name, rows in picked.items() if rows}
