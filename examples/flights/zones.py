"""The time zones of the airports in the data. Pure."""

from __future__ import annotations

EAST = "America/New_York"
"""The zone of all airports that are not listed."""

_ELSEWHERE = {
    "America/Chicago": "AUS BHM BNA DFW DSM HOU IAH MCI MDW MEM MKE MSN MSP MSY OKC OMA ORD SAT STL TUL XNA",
    "America/Denver": "ABQ BZN DEN EGE HDN JAC MTJ SLC",
    "America/Phoenix": "PHX",
    "America/Los_Angeles": "BUR LAS LAX LGB OAK PDX PSP SAN SEA SFO SJC SMF SNA",
    "America/Anchorage": "ANC",
    "America/Puerto_Rico": "BQN PSE SJU STT",
    "Pacific/Honolulu": "HNL",
}


def zone_of(airport: str) -> str:
    """The time zone of an airport, by its code."""
    return next((zone for zone, airports in _ELSEWHERE.items() if airport in airports.split()), EAST)
