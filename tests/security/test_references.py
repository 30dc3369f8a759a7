"""References to secrets in texts, and their places in a URL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grange.databases.urls import filled_template, parse_url, shown_template, shown_url
from grange.errors import ConfigurationError
from grange.security.references import Reference, has_references, only_references, parse, references_in

FILE, VARIABLE = Reference("file", "/run/pg"), Reference("env", "X")
VAULT = Reference("vault", "secret/shop#password")


def test_a_text_in_pieces() -> None:
    assert parse("") == ()
    assert parse("plain $ text {x}") == ("plain $ text {x}",)
    assert parse("${file:/run/pg}") == (FILE,)
    assert parse("a${env:X}${vault:secret/shop#password}b") == ("a", VARIABLE, VAULT, "b")


def test_an_escape_is_a_text() -> None:
    assert parse("$${file:/run/pg}") == ("${file:/run/pg}",)
    assert parse("a$${b}${env:X}") == ("a${b}", VARIABLE)
    assert parse("$$${env:X}") == ("$${env:X}",)
    assert [has_references("$${"), only_references("$${"), only_references("${env:X}")] == [True, False, True]


@pytest.mark.parametrize(
    "text", ["${", "${}", "${X}", "${env:}", "${Env:X}", "${env:X", "${env:${env:X}}", "a${b:c\n}"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    """The error names the escape, and shows nothing of the text, which may be a password."""
    with pytest.raises(ConfigurationError, match=r"write '\$\$\{'") as caught:
        parse(f"canary{text}")
    assert "canary" not in str(caught.value)


@given(st.text(st.characters(exclude_characters="$")), st.text(st.sampled_from("a${}:")))
def test_an_escaped_text_comes_out_as_it_was(before: str, text: str) -> None:
    escaped = text.replace("${", "$${")
    if text.find("$${") < 0:  # a dollar before an escape would be part of it
        assert "".join(map(str, parse(before + escaped))) == before + text


def test_references_inside_lists_and_tables_are_found() -> None:
    value = {"a": ["${env:X}", 1, None], "b": {"c": "x${file:/run/pg}"}}
    assert list(references_in(value)) == [VARIABLE, FILE]
    assert has_references(value)
    assert not has_references({"a": ["x", 1]})


URL = "db://${env:U}:${vault:secret/shop#password}@${env:H}/${env:P}?a=${file:/x?y&z=1}"


def test_each_part_of_a_url_may_be_a_reference() -> None:
    """Values are escaped, except the signs between hosts and ports; those that are secret are named."""
    url, secret = filled_template(URL, ["us:er", "p@ss/w?#%rd", "one:1,[::1]:2", "na/me", "o=p&q"])
    found = parse_url(url, "")
    assert (found.username, found.password) == ("us:er", "p@ss/w?#%rd")
    assert found.hosts == (("one", 1), ("::1", 2))
    assert (found.path, dict(found.options)) == ("/na/me", {"a": "o=p&q"})
    assert secret == ["p@ss/w?#%rd", "o=p&q"]


def test_a_whole_url_stands_as_it_is() -> None:
    url, secret = filled_template("${vault:secret/shop#url}", ["db://a:p%40ss@h/n?key=k"])
    assert url == "db://a:p%40ss@h/n?key=k"
    assert secret == ["p@ss", "k", url]


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        (URL, "db://…:${vault:secret/shop#password}@${env:H}/${env:P}"),
        ("db://ann:literal@h/n?a=${env:X}", "db://h/n"),
        ("db://ann:half${env:X}@h/n", "db://h/n"),
        ("db://ann@h/n${env:X}", "db://h/n${env:X}"),
        ("${vault:secret/shop#url}", "${vault:secret/shop#url}"),
        ("db://ann:$${x}@h/n", "db://h/n"),
        ("db://ann:canary${@h/n", "db://…"),
        ("canary${", "…"),
    ],
)
def test_a_template_is_shown_with_its_references(template: str, shown: str) -> None:
    assert shown_template(template) == shown_url(template) == shown


def test_a_host_cannot_break_out_of_its_place() -> None:
    url, _ = filled_template("db://ann:pw@${env:H}/n", ["evil/x?y=@z"])
    assert parse_url(url, "").path == "/n"
