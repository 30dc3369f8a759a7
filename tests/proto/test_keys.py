"""Keys: their kinds, their canonical text, and the keys that are refused."""

from __future__ import annotations

import enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange import ConfigurationError
from grange.proto.keys import MAX_KEY_LENGTH, KeyKind, decode_key, encode_key, key_kind, kind_name

ID = UUID("6f1eb3b0-1111-4222-8333-444455556666")
VALUES: dict[type, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(codec="utf-8", exclude_characters="\0")).filter(str.strip),
    int: st.integers(),
    UUID: st.uuids(),
}


@st.composite
def keys(draw: st.DrawFn) -> tuple[KeyKind, Any]:
    """A kind and a key of this kind."""
    kinds = draw(st.lists(st.sampled_from([str, int, UUID]), min_size=1, max_size=4))
    if len(kinds) > 1:
        return tuple(kinds), tuple(draw(VALUES[kind]) for kind in kinds)
    return kinds[0], draw(VALUES[kinds[0]])


@given(keys())
def test_every_key_is_read_back(case: tuple[KeyKind, Any]) -> None:
    kind, key = case
    assert decode_key(kind, encode_key(kind, key)) == key


@given(st.lists(VALUES[str], min_size=2, max_size=3), st.lists(VALUES[str], min_size=2, max_size=3))
def test_two_keys_never_share_a_text(one: list[str], other: list[str]) -> None:
    """Including slashes and backslashes inside the parts."""
    texts = [encode_key(tuple(str for _ in parts), tuple(parts)) for parts in (one, other)]
    assert (texts[0] == texts[1]) == (one == other)


@given(keys(), st.text(st.sampled_from("/\\a1-_ "), max_size=12))
def test_what_can_be_read_is_canonical(case: tuple[KeyKind, Any], text: str) -> None:
    """One key has one text. Other spellings are refused; otherwise one key could have two activations."""
    kind = case[0]
    try:
        key = decode_key(kind, text)
    except ValueError:
        return
    assert encode_key(kind, key) == text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, "07"),
        (int, "+7"),
        (int, " 7"),
        (int, "1_000"),
        (int, "-0"),
        (int, "٣"),
        (int, "seven"),
        (int, ""),
        (UUID, str(ID).upper()),
        (UUID, ID.hex),
        (UUID, "{" + str(ID) + "}"),
        (UUID, "no"),
        (str, ""),
        (str, " \t"),
        ((str, int), "a"),
        ((str, int), "a/b"),
        ((str, int), "/1"),
        ((str, str), "a/ "),
        (str, "a\0"),
        ((str, int), "a/1/2"),
        ((str, int), "\\a/1"),
        ((str, str), "a/b\\"),
    ],
)
def test_texts_that_are_no_key_are_refused(kind: KeyKind, text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_key(kind, text)


@pytest.mark.parametrize(
    ("kind", "key", "says"),
    [
        (str, 7, "must be str, not int"),
        (int, "7", "must be int, not str"),
        (int, True, "must be int, not bool"),
        (UUID, str(ID), "must be uuid.UUID, not str"),
        (str, None, "must be str, not NoneType"),
        ((str, int), ("a", "1"), r"must be tuple\[str, int\]"),
        ((str, int), ("a",), r"must be tuple\[str, int\]"),
        ((str, int), ["a", 1], r"must be tuple\[str, int\]"),
        ((str, int), "a/1", r"must be tuple\[str, int\]"),
    ],
)
def test_a_wrong_kind_is_a_type_error(kind: KeyKind, key: object, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        encode_key(kind, key)


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Mixed(str, enum.Enum):  # noqa: UP042 - it prints another text than a StrEnum
    RED = "red"


class Loud(str):
    """A text that prints another one."""

    __slots__ = ()

    def __str__(self) -> str:
        return "loud"


class Number(int):
    def __repr__(self) -> str:
        return "a number"


class RowId(UUID):
    """As the identifiers that asyncpg reads from rows."""

    def __str__(self) -> str:
        return "row"


@pytest.mark.parametrize(
    ("kind", "key", "text"),
    [
        (str, Colour.RED, "red"),
        (str, Mixed.RED, "red"),
        (str, Loud("quiet"), "quiet"),
        (int, Level.HIGH, "3"),
        (int, Number(-7), "-7"),
        (UUID, RowId(str(ID)), str(ID)),
        ((str, int, UUID), (Loud("a"), Level.HIGH, RowId(str(ID))), f"a/3/{ID}"),
        (int, -(10**40), "-1" + "0" * 40),
    ],
)
def test_a_subclass_counts_as_its_plain_value(kind: KeyKind, key: object, text: str) -> None:
    """The value counts, not its text; what is read back is of the plain kind."""
    assert encode_key(kind, key) == text
    back = decode_key(kind, text)
    assert back == key
    assert [type(part) for part in (back if isinstance(back, tuple) else (back,))] == [
        *(kind if isinstance(kind, tuple) else (kind,))
    ]


class Impostor:
    """A class that only has the name."""

    __qualname__ = "UUID"


@pytest.mark.parametrize(
    ("kind", "key", "says"),
    [
        (UUID, Impostor(), r"must be uuid\.UUID, not tests\.proto\.test_keys\.UUID"),
        pytest.param(str, 10**5000, "must be str, not int: <no text: ValueError>", id="no text"),
        ((str, int), ("a", True), r"must be tuple\[str, int\], not \(str, bool\)"),
        ((str, int), (("a", 1), 1), r"must be tuple\[str, int\], not \(tuple, int\)"),
        ((str, int), ("a", 1, 2), r"must be tuple\[str, int\], not \(str, int, int\)"),
        ((str, int), (), r"must be tuple\[str, int\], not tuple: \(\)"),
    ],
)
def test_the_message_shows_the_difference(kind: KeyKind, key: object, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        encode_key(kind, key)


@pytest.mark.parametrize(
    ("kind", "key", "says"),
    [
        ((str, int), ("", 1), "part 1 of the key must not be empty or blank"),
        ((int, str), (1, " \t"), "part 2 of the key must not be empty or blank"),
        (str, "nul\0", "contains the character NUL"),
        ((str, int), ("nul\0", 1), "contains the character NUL"),
        pytest.param(int, 10**4096, "4097 characters", id="long number"),
        pytest.param(int, -(10**100_000), "a number of 332193 bits, the limit is 4096 characters", id="huge number"),
    ],
)
def test_values_that_no_store_could_keep_are_refused(kind: KeyKind, key: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        encode_key(kind, key)


ANYTHING = st.one_of(
    *VALUES.values(), st.text(), st.booleans(), st.none(), st.floats(), st.binary(), st.sampled_from([*Colour, *Level])
)


@given(
    st.sampled_from([str, int, UUID, (str, int), (str, str), (UUID, int, str)]),
    ANYTHING | st.tuples(ANYTHING, ANYTHING) | st.tuples(ANYTHING, ANYTHING, ANYTHING),
)
def test_a_value_is_read_back_equal_or_refused(kind: KeyKind, key: object) -> None:
    try:
        text = encode_key(kind, key)
    except (TypeError, ValueError) as error:
        assert type(error) in (TypeError, ValueError)  # noqa: PT017 - no UnicodeError, whose text is for programmers
        return
    assert decode_key(kind, text) == key
    assert "\0" not in text


@pytest.mark.parametrize("key", ["", " ", "\n\t"])
def test_blank_keys_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="empty or blank"):
        encode_key(str, key)


@pytest.mark.parametrize("kind", [str, (str, int)])
def test_long_keys_are_refused_both_ways(kind: KeyKind) -> None:
    """A key of exactly the limit is accepted and a longer one refused, in both directions."""
    tail = "" if kind is str else "/1"
    longest = "x" * (MAX_KEY_LENGTH - len(tail))
    key = longest if kind is str else (longest, 1)
    assert decode_key(kind, encode_key(kind, key)) == key
    with pytest.raises(ValueError, match="4097 characters"):
        encode_key(kind, longest + "x" if kind is str else (longest + "x", 1))
    with pytest.raises(ValueError, match="4097 characters"):
        decode_key(kind, longest + "x" + tail)


@pytest.mark.parametrize(("kind", "key"), [(str, "a\ud800"), ((str, int), ("\udfff", 1))])
def test_keys_that_cannot_be_written_are_refused(kind: KeyKind, key: object) -> None:
    """A lone surrogate cannot be encoded; it is refused at `get_grain`, not at the first call."""
    with pytest.raises(ValueError, match="not valid Unicode") as caught:
        encode_key(kind, key)
    assert type(caught.value) is ValueError


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [(str, str), (int, int), (UUID, UUID), (tuple[str, int], (str, int)), ((UUID, str, int), (UUID, str, int))],
)
def test_kinds_are_read_from_annotations(annotation: object, kind: KeyKind) -> None:
    assert key_kind(annotation) == kind


NO_KINDS = [float, bytes, tuple[str], (int,), tuple, (), tuple[str, float], [str, int], "x"]


@pytest.mark.parametrize("annotation", NO_KINDS)
def test_other_kinds_are_refused(annotation: object) -> None:
    with pytest.raises(ConfigurationError, match="a grain key is str, int, UUID or a tuple"):
        key_kind(annotation)


def test_kinds_have_names() -> None:
    assert kind_name(int) == "int"
    assert kind_name((str, UUID)) == "tuple[str, UUID]"
