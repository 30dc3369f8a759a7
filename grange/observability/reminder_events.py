"""The events about reminders and jobs, one declaration each; see `catalogue.py`."""

from __future__ import annotations

from logging import ERROR, INFO, WARNING

from grange.observability.events import Event


class ReminderFailed(Event, frozen=True):
    """A tick or a job failed: the grain raised an error, or its answer was lost. It is tried again, within bounds."""

    NAME, LEVEL, LOGGER = "reminder_failed", WARNING, "reminders"
    SENTENCE = "the reminder {name!r} of {grain} failed (attempt {attempt}): {error}"
    KEY = ("grain", "name")
    grain: str
    name: str
    attempt: int
    error: str


class ReminderParked(Event, frozen=True):
    """A reminder that comes once, or a job, has failed too often. It is kept, and waits for an operator."""

    NAME, LEVEL, LOGGER = "reminder_parked", ERROR, "reminders"
    SENTENCE = "the reminder {name!r} of {grain} is parked after {attempt:attempt/}: {error}"
    KEY = ("grain", "name")
    grain: str
    name: str
    attempt: int
    error: str


class ReminderUnreadable(Event, frozen=True):
    """A stored reminder cannot be read by this release. It is left as it is, and tried again later."""

    NAME, LEVEL, LOGGER = "reminder_unreadable", ERROR, "reminders"
    SENTENCE = "the reminder {name!r} of {grain} cannot be read: {error}"
    KEY = ("grain", "name")
    grain: str
    name: str
    error: str


class RemindersUnread(Event, frozen=True):
    """This silo cannot read the reminders that are due: their store does not answer. It tries again."""

    NAME, LEVEL, LOGGER = "reminders_unread", ERROR, "reminders"
    SENTENCE = "silo {me} cannot read the reminders that are due: {error}"
    error: str


class RemindersRead(Event, frozen=True):
    """This silo reads reminders again, after `reminders_unread`."""

    NAME, LEVEL, LOGGER = "reminders_read", INFO, "reminders"
    SENTENCE = "silo {me} reads reminders again"
