"""A list of activations over all silos: the filter, the merge of the silos' pages, and one cursor for all. Pure.

Each silo searches for itself and returns its best rows. The cursor keeps, for each silo, the cursor that its page began
with and the last row of it that was shown: so the next page neither repeats rows nor leaves any out.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from grange.client.questions import Answer
from grange.dashboard.replies import BadRequest
from grange.proto.inspection import MAX_ROWS, ActivationRow, FindActivations, FoundActivations

Facts = dict[str, Any]

SORTS: Mapping[str, Callable[[ActivationRow], Any]] = MappingProxyType({
    "key": lambda row: 0, "age": lambda row: -row.age, "idle": lambda row: -row.idle,
    "waiting": lambda row: -row.waiting, "turn": lambda row: -row.turn,
})  # fmt: skip
"""What each order compares first; then come type and key."""

PHASES = ("activating", "active", "deactivating")

LONGEST_TEXT = 4096
LONGEST_CURSOR = 12_000


class Place(msgspec.Struct, frozen=True, array_like=True):
    """How far one silo's rows were shown: the cursor of its page, and of its rows the last one shown and their number.

    `done`: the silo has no more rows.
    """

    silo: str
    cursor: str = ""
    type: str = ""
    key: str = ""
    shown: int = 0
    done: bool = False


class Page(msgspec.Struct, frozen=True):
    """One page of the list, as the API has it, and the places for the next page."""

    facts: Facts
    places: tuple[Place, ...]


def filter_of(parameters: Mapping[str, str]) -> FindActivations:
    """The question that the parameters of a request describe. Raises BadRequest naming the one that is wrong."""
    for name in ("type", "prefix", "contains"):
        if len(parameters.get(name, "")) > LONGEST_TEXT:
            raise BadRequest(f"at most {LONGEST_TEXT} characters", name)
    phase, sort = parameters.get("phase", ""), parameters.get("sort") or "key"
    if phase and phase not in PHASES:
        raise BadRequest(f"a phase is one of {', '.join(PHASES)}", "phase")
    if sort not in SORTS:
        raise BadRequest(f"sort by one of {', '.join(SORTS)}", "sort")
    return FindActivations(
        type=parameters.get("type", ""),
        prefix=parameters.get("prefix", ""),
        contains=parameters.get("contains", ""),
        phase=phase,
        min_age=_figure(parameters, "min_age"),
        min_idle=_figure(parameters, "min_idle"),
        min_waiting=whole(parameters, "min_waiting", 0, 0, 2**31),
        min_turn=_figure(parameters, "min_turn"),
        sort=sort,
        limit=whole(parameters, "limit", 50, 1, MAX_ROWS),
    )


def questions(find: FindActivations, places: Sequence[Place], silos: Iterable[str]) -> dict[str, FindActivations]:
    """The question for each silo that may have more rows."""
    known = {place.silo: place for place in places}
    asked: dict[str, FindActivations] = {}
    for silo in silos:
        place = known.get(silo, Place(silo))
        if not place.done:
            limit = min(MAX_ROWS, find.limit + place.shown)
            asked[silo] = msgspec.structs.replace(find, cursor=place.cursor, limit=limit)
    return asked


def page_of(find: FindActivations, answers: Sequence[Answer[FoundActivations]], places: Sequence[Place]) -> Page:
    """Merge the answers of the silos that were asked."""
    known = {place.silo: place for place in places}
    found = [(each.member, each.answer) for each in answers if each.answer is not None]
    by_silo = {str(member.address): _unshown(answer.rows, known.get(str(member.address))) for member, answer in found}
    names = {str(member.address): member.name for member, _ in found}
    order = SORTS[find.sort]
    merged = sorted(
        ((row, silo) for silo, rows in by_silo.items() for row in rows),
        key=lambda each: (order(each[0]), each[0].grain_id, each[1]),
    )
    shown = merged[: _certain(merged[: find.limit], by_silo, found_by(found))]
    cut = [member.name for member, answer in found if answer.cut]
    facts: Facts = {
        "rows": [_row_facts(row, names[silo]) for row, silo in shown],
        "matches": sum(answer.matches for _, answer in found),
        "looked_at": sum(answer.looked_at for _, answer in found),
        "total": sum(answer.total for _, answer in found),
        "cut": cut,
        "silent": [each.member.name for each in answers if each.answer is None],
    }
    return Page(facts, _next_places(known, found_by(found), by_silo, shown))


def found_by(found: Iterable[tuple[Any, FoundActivations]]) -> dict[str, FoundActivations]:
    """The answers by the address of their silo."""
    return {str(member.address): answer for member, answer in found}


def encode_cursor(places: Sequence[Place]) -> str:
    """The text for the next page; empty if there is none."""
    if all(place.done for place in places):
        return ""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(list(places))).decode().rstrip("=")


def decode_cursor(text: str) -> tuple[Place, ...]:
    """The inverse of `encode_cursor`. Raises BadRequest for any other text."""
    if not text:
        return ()
    try:
        if len(text) > LONGEST_CURSOR or not text.isascii():
            raise ValueError
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.msgpack.decode(data, type=tuple[Place, ...])
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise BadRequest("this is not the cursor of a page before", "cursor") from None


def whole(parameters: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A whole number among the parameters. Raises BadRequest."""
    text = parameters.get(name, "")
    if not text:
        return default
    try:
        number = int(text) if len(text) <= 16 and text.isascii() else least - 1
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise BadRequest(f"a whole number from {least} to {most}", name)
    return number


def _figure(parameters: Mapping[str, str], name: str) -> float:
    text = parameters.get(name, "")
    try:
        number = float(text) if text else 0.0
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1e9:  # not a number compares as False
        raise BadRequest("a number of seconds, 0 or more", name)
    return number


def _unshown(rows: Sequence[ActivationRow], place: Place | None) -> list[ActivationRow]:
    """The rows of a silo's page that follow the last one shown. If that one has gone, all of them."""
    if place is None or not place.shown:
        return list(rows)
    last = (place.type, place.key)
    index = next((n for n, row in enumerate(rows) if (row.grain_id.type, row.grain_id.key) == last), -1)
    return list(rows[index + 1 :])


def _certain(
    merged: Sequence[tuple[ActivationRow, str]],
    by_silo: Mapping[str, list[ActivationRow]],
    answers: Mapping[str, FoundActivations],
) -> int:
    """How many of the merged rows are certainly next: the rows after the last known one of a silo may not be.

    Such a page is shorter than the limit. It happens only if a silo has far more of the best rows than the others.
    """
    left = {silo: len(rows) for silo, rows in by_silo.items() if answers[silo].cursor}
    for index, (_, silo) in enumerate(merged):
        if silo in left:
            left[silo] -= 1
            if not left[silo]:
                return index + 1
    return len(merged)


def _next_places(
    known: Mapping[str, Place],
    answers: Mapping[str, FoundActivations],
    by_silo: Mapping[str, list[ActivationRow]],
    shown: Sequence[tuple[ActivationRow, str]],
) -> tuple[Place, ...]:
    last = {silo: row.grain_id for row, silo in shown}
    counts = {silo: sum(1 for _, each in shown if each == silo) for silo in by_silo}
    places = {**known}
    for silo, rows in by_silo.items():
        before = known.get(silo, Place(silo))
        if counts[silo] == len(rows):  # the page of this silo is used up
            cursor = answers[silo].cursor
            places[silo] = Place(silo, cursor, done=not cursor)
        elif silo in last:
            places[silo] = Place(silo, before.cursor, last[silo].type, last[silo].key, before.shown + counts[silo])
        else:
            places[silo] = before
    return tuple(places.values())


def _row_facts(row: ActivationRow, silo: str) -> Facts:
    return {
        "type": row.grain_id.type,
        "key": row.grain_id.key,
        "silo": silo,
        "phase": row.phase,
        "age": round(row.age, 3),
        "idle": round(row.idle, 3),
        "waiting": row.waiting,
        "running": row.running,
        "turn": round(row.turn, 3),
    }
