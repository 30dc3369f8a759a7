"""The secrets that a process has read, to find them in texts, and the filter that keeps them out of logs.

`grange run` puts the filter on its handlers, and the ring of log lines has it. A program puts it on its own handlers:
`handler.addFilter(HideSecrets(known))`.
"""

from __future__ import annotations

import json
import logging
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

from grange.security.secret import HIDDEN, Secret

SHORTEST = 6
"""Characters of the shortest value that is looked for: a shorter one is in many words, and would hide them all."""

MOST = 1000
"""Values that are kept. The earliest are forgotten first: those that were replaced long ago."""

_LONGEST_FORM = 4096
"""Characters of a value that are looked for; a longer one is found by its beginning."""

_STANDARD = frozenset(vars(logging.makeLogRecord({})))


class KnownSecrets:
    """The values that were read in this process, with those that they replaced. Any thread may use it."""

    def __init__(self) -> None:
        self._forms: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()
        self._looked_for: tuple[str, ...] = ()

    def add(self, secret: Secret) -> None:
        """Look for this value from now on, if it has at least `SHORTEST` characters."""
        text = secret.reveal()
        if len(text) < SHORTEST:
            return
        with self._lock:
            is_new = text not in self._forms
            self._forms[text] = self._forms.pop(text, ()) or _forms(text)  # the newest is the last
            if is_new:
                while len(self._forms) > MOST:
                    self._forms.pop(next(iter(self._forms)))
                forms = {form for each in self._forms.values() for form in each}
                self._looked_for = tuple(sorted(forms, key=len, reverse=True))  # a value may begin with another

    def hide(self, text: str) -> str:
        """The text with `***` in the place of each known value, also of one as a URL, JSON or `repr` writes it."""
        for form in self._looked_for:  # faster than one pattern of all
            if form in text:
                text = text.replace(form, HIDDEN)
        return text

    def hide_in(self, value: Any) -> Any:
        """As `hide`, for texts inside tables and lists; another object that shows a value becomes a text."""
        if not self._looked_for or value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            items = cast("Mapping[str, Any]", value).items()
            return {self.hide_in(key): self.hide_in(each) for key, each in items}
        if isinstance(value, list | tuple):
            return [self.hide_in(each) for each in cast("Sequence[Any]", value)]
        try:
            text = str(value)
        except Exception:  # the application's `__str__` may raise anything; the formatter meets it again
            return value
        hidden = self.hide(text)
        return value if hidden == text else hidden

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look for."""
        return not self._looked_for

    def __repr__(self) -> str:
        return f"KnownSecrets({len(self._forms)})"


class HideSecrets(logging.Filter):
    """Replaces the known secrets in a record by `***`: in its message, its traceback and its further fields.

    Add it to a handler, after other filters. The record itself changes, so handlers that come later write none either.
    """

    def __init__(self, known: KnownSecrets) -> None:
        super().__init__()
        self._known = known

    def filter(self, record: logging.LogRecord) -> bool:
        """logging.Filter: change the record; let it pass."""
        if not self._known.is_empty:
            try:
                self._hide(record)
            except Exception as error:  # `__str__` of an application, or a list in itself: logging must not raise
                _empty(record, type(error).__name__)
        return True

    def _hide(self, record: logging.LogRecord) -> None:
        known = self._known
        self._hide_message(record)
        if record.exc_info or record.exc_text:
            self._hide_error(record)
        for name, value in list(vars(record).items()):
            if name not in _STANDARD:
                setattr(record, name, known.hide_in(value))

    def _hide_message(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # arguments that do not fit: the handler reports it, and shows them
            text, record.args = str(record.msg), None
        hidden = self._known.hide(text)
        if hidden != text or record.args is None:
            record.msg, record.args = hidden, None

    def _hide_error(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        text = record.exc_text or ("" if error is None else "".join(traceback.format_exception(error)))
        hidden = self._known.hide(text)
        if hidden != text:
            record.exc_text = hidden.rstrip("\n")
            if error is not None:
                record.exc_info = (
                    HiddenError,
                    HiddenError(type(error).__qualname__, self._known.hide(str(error))),
                    None,
                )


def _empty(record: logging.LogRecord, problem: str) -> None:
    """Leave nothing in a record that could not be searched."""
    record.msg, record.args = f"a line that cannot be searched for secrets ({problem}) is left out", None
    record.exc_info = record.exc_text = None
    for name in set(vars(record)) - _STANDARD:
        setattr(record, name, HIDDEN)


class HiddenError(Exception):
    """Stands in a log record for an error whose text had a secret in it."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")


def _forms(text: str) -> tuple[str, ...]:
    """A value as it is, and as URLs, JSON and `repr` write it, also that of its bytes."""
    text = text[:_LONGEST_FORM]
    data = text.encode("utf-8", "surrogatepass")  # a variable may hold bytes that are no UTF-8
    quoted = (quote(data, safe=""), quote(data), json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    return tuple(dict.fromkeys((text, *quoted, repr(text)[1:-1], repr(data)[2:-1])))
