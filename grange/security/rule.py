"""Rules: which callers (`who`) may make which calls (`call`). Their words are compared exactly, without patterns. Pure.

`[[allow]]` tables and `@requires` share the words of `who`:

    spiffe://shop/client/web   the program with this certificate; spiffe://shop/client/* every name after the slash
    user:ann                   exactly this subject; subject:NAME for one that has no colon, or that looks like a word
    role:customer              an identity with this role
    tenant:acme                an identity of this tenant
    grain:cart, grain:*        a call that this grain type, or any grain, makes
    silo                       code of a silo that is no grain
    anonymous                  a caller without an identity
    *                          every identity

A word of `call` is a grain type and a method: `cart/add`, `cart/*`, or `*/*` for all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

import msgspec

from grange.proto.identity import GRAIN, SCHEME, SILO, Identity

ALL = "*"
"""In `who`: every identity. In `call`: every grain type, or every method."""

ANONYMOUS = "anonymous"
"""In `who`: callers without an identity. No other word fits them."""

SUBJECT = "subject:"
"""Before a subject that has no colon, or looks like another word."""

MOST_WORDS = 1000
"""Most words of one list."""

MOST_LETTERS = 500
"""Most characters of one word."""

_TYPE = re.compile(r"[a-z][a-z0-9_.]{0,63}")
_METHOD = re.compile(r"[A-Za-z]\w{0,199}")
_FORM = "write it as role:NAME, tenant:NAME, grain:TYPE, silo, anonymous, *, spiffe://CLUSTER/client/NAME, or user:NAME"


class Rule(msgspec.Struct, frozen=True):
    """One rule: each of these callers may make each of these calls."""

    who: tuple[str, ...]
    call: tuple[str, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.who)} may call {', '.join(self.call)}"


def read_rules(given: object) -> tuple[Rule, ...]:
    """The rules of a list of tables with `who` and `call`. Raises ValueError with the place of what is wrong."""
    if not isinstance(given, list | tuple):
        raise ValueError(f"must be a list of tables with who and call, not {given!r:.100}")
    found: list[Rule] = []
    for number, each in enumerate(cast("Sequence[object]", given), 1):
        try:
            found.append(_rule(each))
        except ValueError as error:
            raise ValueError(f"rule {number}: {error}") from None
    return tuple(found)


def _rule(given: object) -> Rule:
    if isinstance(given, Rule):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(f"must be a table with who and call, not {given!r:.100}")
    table = cast("Mapping[object, object]", given)
    for name in table:
        if name not in ("who", "call"):
            raise ValueError(f"{name!r:.100} is no part of a rule; its parts are who and call")
    who = _words("who", table.get("who"), check_who)
    return Rule(who, _words("call", table.get("call"), _check_call))


def _words(part: str, given: object, check: Callable[[str], str]) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Collection) or not given:
        raise ValueError(
            f"{part} must be a list of one or more texts" + ("" if given is None else f", not {given!r:.100}")
        )
    words = tuple(cast("Collection[object]", given))
    if len(words) > MOST_WORDS:
        raise ValueError(f"{part} has {len(words):,} words; the limit is {MOST_WORDS:,}: give callers a role")
    for word in words:
        if not isinstance(word, str):
            raise ValueError(f"{part} must be a list of texts; {word!r:.100} is none")
    return tuple(check(str(word)) for word in words)


def check_who(word: str) -> str:
    """Return a word of `who`, or raise ValueError that says how to write it."""
    kind, _, name = word.partition(":")
    problem = ""
    if not word.strip() or not word.isprintable() or word != word.strip() or len(word) > MOST_LETTERS:
        problem = f"must be one word of at most {MOST_LETTERS} characters without spaces around it"
    elif word in (ALL, ANONYMOUS, SILO):
        return word
    elif not name:
        problem = f"names no caller; {_FORM}; for a subject without a colon write {SUBJECT}{kind}"
    elif f"{kind}:" == GRAIN and name != ALL and not _TYPE.fullmatch(name):
        problem = "must name one grain type, or be grain:*"
    elif word.startswith(SCHEME):
        problem = _bad_spiffe(word)
    elif ALL in name and f"{kind}:" not in (GRAIN, SUBJECT):
        problem = f"{ALL} stands for any text only as the last part of a spiffe:// name, in grain:*, or alone"
    if problem:
        raise ValueError(f"{word!r:.100}: {problem}")
    return word


def _bad_spiffe(word: str) -> str:
    cluster, slash, path = word.removeprefix(SCHEME).partition("/")
    if not cluster or not slash or not path or ALL in cluster:
        return f"must be of the form {SCHEME}CLUSTER/client/NAME"
    if ALL in path and (path.count(ALL) > 1 or not (path == ALL or path.endswith(f"/{ALL}"))):
        return f"{ALL} stands only at the end, after a slash: {SCHEME}CLUSTER/client/{ALL}"
    return ""


def _check_call(word: str) -> str:
    kind, slash, method = word.partition("/")
    if not slash or not kind or not method:
        raise ValueError(f"{word!r:.100}: must be a grain type and a method: cart/add, cart/*, or */*")
    if kind == ALL and method != ALL:
        raise ValueError(f"{word!r:.100}: one method of every type is no call; name the grain type")
    if kind != ALL and not _TYPE.fullmatch(kind):
        raise ValueError(f"{word!r:.100}: {kind!r:.100} is no grain type, whose names match {_TYPE.pattern}")
    if method != ALL and not _METHOD.fullmatch(method):
        raise ValueError(f"{word!r:.100}: {method!r:.100} is no name of a method")
    return word


def check_requires(words: Sequence[object]) -> tuple[str, ...]:
    """The alternatives of one `@requires`. Raises ValueError."""
    return _words("it", words, check_who)


def fits(word: str, identity: Identity | None) -> bool:
    """Whether a word of `who` is about this caller; None: a caller without an identity."""
    if identity is None or word == ANONYMOUS:
        return identity is None and word == ANONYMOUS
    if word == ALL:
        return True
    kind, colon, name = word.partition(":")
    if kind == "role" and colon:
        return name in identity.roles
    if kind == "tenant" and colon:
        return name == identity.tenant
    if kind == "grain" and colon:
        return any(_is_grain(name, each) for each in (identity.subject, identity.via))
    if kind == "subject" and colon:
        return name == identity.subject
    if word.startswith(SCHEME) and word.endswith(f"/{ALL}"):
        prefix = word[:-1]
        return identity.subject.startswith(prefix) and len(identity.subject) > len(prefix)
    return word == identity.subject


def _is_grain(name: str, speaker: str) -> bool:
    return speaker.startswith(GRAIN) and (name == ALL or speaker[len(GRAIN) :] == name)


def covers(word: str, grain_type: str, method: str) -> bool:
    """Whether a word of `call` is about this method of this grain type."""
    kind, _, name = word.partition("/")
    return kind in (ALL, grain_type) and name in (ALL, method)
