"""The list of revoked certificates is read in the forms of its writers, or refused as a whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.errors import ConfigurationError
from grange.security.revocations import parse_revocations

ONE, TWO = "ab" * 32, "0f" * 32


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        f"# stolen\n\n  {ONE}  # laptop\n",
        ONE.upper() + "\r\n",
        ":".join([ONE[:2].upper()] * 32),
        "sha256 Fingerprint=" + ":".join([ONE[:2].upper()] * 32),
    ],
)
def test_each_form_of_a_fingerprint_is_read(text: str) -> None:
    assert parse_revocations(text.encode(), "revoked.txt") == {ONE}


@pytest.mark.parametrize("line", ["abc", ONE[:-1], ONE + "0", "g" * 64, f"{ONE} {TWO}"])
def test_a_broken_line_is_named(line: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^revoked\.txt, line 2: .* is no SHA-256 fingerprint"):
        parse_revocations(f"{TWO}\n{line}\n".encode(), "revoked.txt")


def test_an_empty_list_revokes_nothing() -> None:
    assert parse_revocations(b"", "revoked.txt") == parse_revocations(b"# none\n", "revoked.txt") == frozenset()


@given(st.binary(max_size=300))
def test_noise_is_refused_or_read_and_nothing_else(noise: bytes) -> None:
    try:
        found = parse_revocations(noise, "revoked.txt")
    except ConfigurationError:
        found = frozenset()
    assert all(len(each) == 64 for each in found)
