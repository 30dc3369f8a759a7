"""Reminders and jobs: what a grain is told to do later, kept in a store, so that it outlives every silo.

The silo starts one `ReminderService` (`service.py`). Open `reminder.py` first: the verbs of `self.reminders`; then
`schedule.py`, which says when a reminder is due, and `agenda.py`, which says what a silo holds in memory.
"""
