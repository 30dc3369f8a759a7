"""The checks that every provider shares."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.errors import StorageError
from grange.proto.ids import GrainId
from grange.storage.record import (
    NAME_LIMIT,
    check_name,
    check_payload,
    etag_number,
    etag_text,
)

ANN = GrainId("cart", "ann")


@given(st.integers(0, 2**63 - 1))
def test_etags_are_the_text_of_counters(number: int) -> None:
    assert etag_number(etag_text(number)) == number


@given(st.text())
def test_any_text_is_a_counter_or_no_counter(text: str) -> None:
    number = etag_number(text)
    assert number == -1 or etag_text(number) == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=NAME_LIMIT))
def test_a_name_is_accepted_up_to_the_limit_in_bytes(key: str) -> None:
    size = len(f"svccart{key}state".encode())
    if size <= NAME_LIMIT:
        check_name("svc", GrainId("cart", key), "state")
    else:
        with pytest.raises(StorageError, match=f"{size} bytes"):
            check_name("svc", GrainId("cart", key), "state")


@pytest.mark.parametrize("place", ["service", "type", "key", "state"])
@pytest.mark.parametrize("bad", ["\0", "\ud800"])
def test_odd_characters_are_refused_everywhere(place: str, bad: str) -> None:
    parts = {"service": "svc", "type": "cart", "key": "ann", "state": "state", place: f"a{bad}b"}
    with pytest.raises(StorageError, match="NUL"):
        check_name(parts["service"], GrainId(parts["type"], parts["key"]), parts["state"])


@given(st.text())
def test_a_nul_is_found_in_any_json_text_and_nothing_else_is(text: str) -> None:
    payload = json.dumps({"text": text}).encode()
    if "\0" in text:
        with pytest.raises(StorageError, match="NUL"):
            check_payload(ANN, "state", payload, limit=10_000)
    else:
        assert check_payload(ANN, "state", payload, limit=10_000) == payload.decode()


@given(st.text(st.sampled_from("\\u0\0a")))
def test_backslashes_before_an_escape_are_counted(text: str) -> None:
    payload = json.dumps(text).encode()
    if "\0" in text:
        with pytest.raises(StorageError, match="NUL"):
            check_payload(ANN, "state", payload, limit=10_000)
    else:
        check_payload(ANN, "state", payload, limit=10_000)


def test_a_payload_over_the_limit_names_both_sizes() -> None:
    check_payload(ANN, "state", b"1" * 10, limit=10)
    with pytest.raises(StorageError, match=r"'state' of cart/ann has 11 bytes, the limit is 10"):
        check_payload(ANN, "state", b"1" * 11, limit=10)
