"""Known secrets are found in texts and log records, in every form in which they are written."""

from __future__ import annotations

import json
import logging
from typing import NoReturn
from urllib.parse import quote

import pytest

from grange.cli.logs import JsonLines, TextLines
from grange.security.known import MOST, SHORTEST, HideSecrets, KnownSecrets
from grange.security.secret import Secret

CANARY = 'canary "0815"/ü\\@'


@pytest.fixture
def known() -> KnownSecrets:
    made = KnownSecrets()
    made.add(Secret(CANARY))
    return made


def record(message: object, *args: object, error: BaseException | None = None, **extra: object) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("shop", logging.INFO, "shop.py", 1, message, args, info)
    vars(made).update(extra)
    return made


def test_each_form_of_a_value_is_hidden(known: KnownSecrets) -> None:
    for form in (
        CANARY,
        quote(CANARY, safe=""),
        json.dumps(CANARY),
        json.dumps(CANARY, ensure_ascii=False),
        repr(CANARY),
        repr(CANARY.encode()),
    ):
        hidden = known.hide(f"before {form} after")
        assert "0815" not in hidden, form
        assert "***" in hidden


def test_bytes_that_are_no_text_are_hidden_too() -> None:
    known = KnownSecrets()
    known.add(Secret("canary-\udcff-0815"))
    assert "0815" not in known.hide("a canary-\udcff-0815 b")


def test_short_values_are_not_looked_for() -> None:
    known = KnownSecrets()
    known.add(Secret("a" * (SHORTEST - 1)))
    assert known.is_empty
    assert known.hide("a" * 100) == "a" * 100


def test_the_longer_of_two_is_hidden_as_a_whole(known: KnownSecrets) -> None:
    known.add(Secret("canary"))
    known.add(Secret("canary-and-more"))
    assert known.hide("canary-and-more canary") == "*** ***"


def test_the_earliest_are_forgotten_first() -> None:
    known = KnownSecrets()
    for number in range(MOST + 1):
        known.add(Secret(f"canary-{number:04}"))
        known.add(Secret("canary-kept"))
    assert known.hide("canary-0000 canary-kept canary-0500") == "canary-0000 *** ***"


def test_a_record_is_hidden_everywhere(known: KnownSecrets) -> None:
    """S9: the message, its arguments, the error and its traceback, further fields and the facts inside them."""
    try:
        raise ValueError(f"wrong password {CANARY}")
    except ValueError as error:
        found = record("%s failed with %r", "login", CANARY, error=error, url=f"db://a:{quote(CANARY, safe='')}@h",
                       facts={"inner": [CANARY], CANARY: 1}, number=5)  # fmt: skip
    assert HideSecrets(known).filter(found)
    for formatter in (TextLines("%(message)s"), JsonLines({})):
        line = formatter.format(found)
        assert "0815" not in line
        assert "login failed with" in line
        assert "ValueError" in line
        assert "wrong password ***" in line
    assert "0815" not in repr(vars(found))
    assert vars(found)["number"] == 5


def test_a_record_without_a_secret_stays_as_it_is(known: KnownSecrets) -> None:
    error = ValueError("no")
    found = record("%s failed", "login", error=error, facts={"a": 1})
    assert HideSecrets(known).filter(found)
    assert (found.msg, found.args) == ("%s failed", ("login",))
    assert found.exc_info is not None
    assert found.exc_info[1] is error


def test_arguments_that_do_not_fit_are_not_shown_either(known: KnownSecrets) -> None:
    """The handler would print the arguments with its complaint."""
    found = record("%s and %d", CANARY, CANARY)
    assert HideSecrets(known).filter(found)
    assert "0815" not in repr(vars(found))
    assert found.getMessage() == "%s and %d"


def test_an_object_that_shows_a_secret_becomes_a_text(known: KnownSecrets) -> None:
    class Shows:
        def __str__(self) -> str:
            return f"it is {CANARY}"

    found = record("x", thing=Shows())
    assert HideSecrets(known).filter(found)
    assert vars(found)["thing"] == "it is ***"


class Broken(dict[str, str]):
    def items(self) -> NoReturn:
        raise RuntimeError("an application's own")


def looped() -> list[object]:
    made: list[object] = [CANARY]
    made.append(made)
    return made


@pytest.mark.parametrize("thing", [looped(), Broken(a=CANARY)], ids=["loop", "broken"])
def test_a_record_that_cannot_be_searched_is_left_out(known: KnownSecrets, thing: object) -> None:
    """Logging raises nothing into the application, and shows nothing that was not searched."""
    found = record("x %s", CANARY, error=ValueError(CANARY), thing=thing, other=CANARY)
    assert HideSecrets(known).filter(found)
    assert "cannot be searched for secrets" in found.getMessage()
    assert "0815" not in JsonLines({}).format(found) + TextLines("%(message)s").format(found) + repr(vars(found))


def test_an_error_that_cannot_be_written_is_left_out(known: KnownSecrets) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("an application's own")

    error = Mute()
    error.__cause__ = ValueError(CANARY)
    found = record("x", error=error)
    assert HideSecrets(known).filter(found)
    assert "0815" not in JsonLines({}).format(found) + TextLines("%(message)s").format(found)
