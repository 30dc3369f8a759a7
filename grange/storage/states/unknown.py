"""Keeps stored fields that the classes of a state do not have, and stores them again. Pure.

A newer release stores them; a silo of this one must not lose them. They are kept beside the value, each with the object
that it was read with: the same object may have moved inside the value when it is written. An object that has taken the
place of another one, as an immutable value does, gets the fields of its place: a field of an object, or a key of a
mapping. Items of a list have no such place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from grange.storage.states.layout import UNSEEN, Layout


class KeptFields(NamedTuple):
    """The unknown fields of one object, and its place; None: it is inside a list."""

    owner: Any
    path: tuple[str, ...] | None
    fields: dict[str, Any]


Kept = tuple[KeptFields, ...]


def drop_fields(layout: Layout, data: Any) -> None:
    """Remove the fields that classes declare as removed, and the unknown ones of those that drop them.

    Raises ValueError for an unknown field of a class that refuses them.
    """
    for spot in layout.spots(data, UNSEEN):
        schema = spot.part.schema
        for name in schema.removed:
            spot.data.pop(name, None)
        if schema.unknown_fields == "keep":
            continue
        for name in spot.part.unknown(spot.data):
            if schema.unknown_fields == "refuse":
                raise ValueError(f"`{spot.part.name}` has no field {name!r}, and refuses unknown fields")
            del spot.data[name]


def unknown_fields(layout: Layout, data: Any, value: Any) -> Kept:
    """The unknown fields of all objects inside a value that was read from this data.

    Raises ValueError where they could not be kept: in the items of a set.
    """
    found: list[KeptFields] = []
    for spot in layout.spots(data, value):
        unknown = spot.part.unknown(spot.data)
        if not unknown:
            continue
        if spot.value is UNSEEN:
            raise ValueError(
                f"field {next(iter(unknown))!r} of `{spot.part.name}` is not known to this release, and could not be "
                f'kept where it is; say @state_schema(unknown_fields="drop") if it may be lost'
            )
        found.append(KeptFields(spot.value, spot.path, unknown))
    return tuple(found)


def put_back(layout: Layout, kept: Kept, data: Any, value: Any) -> Kept:
    """Add the unknown fields to what is stored of a value, where its objects are now. Returns what was added."""
    owners = {id(each.owner): each for each in kept}
    spots = list(layout.spots(data, value))
    used = {id(spot.value) for spot in spots}
    places = {each.path: each for each in kept if each.path is not None and id(each.owner) not in used}
    added: list[KeptFields] = []
    for spot in spots:
        found = owners.get(id(spot.value)) or (None if spot.path is None else places.get(spot.path))
        if found is None:
            continue
        for name, item in found.fields.items():
            spot.data.setdefault(name, item)
        added.append(KeptFields(spot.value, spot.path, found.fields))
    return tuple(added)
