"""Which rows there are, in which groups they share a cluster, and how many rounds of each a full run plays. Pure."""

from __future__ import annotations

from tests.processes.faults import rows_cuts, rows_deaths, rows_pauses, rows_stores
from tests.processes.faults.round import AGAIN, LONG, SHORT, Pace, Row

KILLS_PER_ROUND = 10
"""A median of deaths needs more kills than rounds: three rounds are thirty kills."""

GROUPS: dict[str, tuple[Row, ...]] = {
    "deaths": rows_deaths.ROWS,
    "pauses": rows_pauses.ROWS,
    "cuts": rows_cuts.ROWS,
    "stores": rows_stores.ROWS,
}

OUTAGE = rows_stores.LONG_OUTAGE


def rounds_of(row: Row, rounds: int) -> int:
    """How often a row is played when every row is to be played `rounds` times."""
    return rounds * KILLS_PER_ROUND if row.id == "F1" else rounds


def pace_of(row: Row, number: int) -> Pace:
    """The first round holds its fault long; thirty kills need no long ones."""
    if row.id == "F1":
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
