"""S14: SECURITY.md covers every requirement, every kind of secret, and what is not protected."""

from __future__ import annotations

import re

from tests.architecture.sources import ROOT
from tests.docs.conformance_page import definitions

PAGE = (ROOT / "SECURITY.md").read_text("utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"SECURITY.md has no section {title}"
    return found[1]


def rows(title: str) -> list[str]:
    """The first cells of a table, without its heading."""
    return re.findall(r"^\| (?!---)([^|]+?) \|", section(title), re.MULTILINE)[1:]


def test_each_requirement_stands_on_the_page() -> None:
    assert rows("Requirements") == [id for id in definitions() if re.fullmatch(r"S\d+", id)]


def test_each_port_and_each_secret_is_described() -> None:
    """The ports of a silo; certificates, tokens, passwords and the authority's key."""
    assert rows("Parts and boundaries") == ["silo", "probe", "gateway", "admin"]
    stolen = " ".join(rows("What a stolen secret opens"))
    for secret in ("client's certificate", "user's token", "admin token", "silo's certificate", "state store",
                   "membership table", "authority"):  # fmt: skip
        assert secret in stolen


def test_a_reader_finds_how_to_report_what_is_supported_and_what_is_left_out() -> None:
    assert "in private" in section("Reporting a vulnerability")
    assert rows("Supported versions")
    assert len(re.findall(r"^- \*\*", section("Not protected"), re.MULTILINE)) >= 8
