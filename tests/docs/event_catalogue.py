"""The page of all events, generated from the code: `python -m tests.docs.event_catalogue` writes it.

Typed events are declared in `catalogue.py` and `turn_events.py` of `grange/observability/`. Further names stand only in
log lines; what those mean is written here.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from grange.observability import (
    application_events,
    catalogue,
    certificate_events,
    flood_events,
    reminder_events,
    secret_events,
    security_events,
    turn_events,
)
from grange.observability.events import Event
from tests.docs.runbook_index import pages

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations" / "events.md"
EVENT = re.compile(r"[a-z]+(_[a-z]+)+")
COUNTED = re.compile(r"{(\w+):([^}/]+)/([^}]*)}")
"""A number with its noun in the text of an event (`observability/events.py`)."""

LOG_LINES = {
    "move_failed": "An activation did not move to another silo; it continues here, or has ended.",
    "act_audited": "An operator acts on this silo: a line before the act and one after it, without a limit.",
    "call_audited": "A method that is `@audited` is called: a line before the call and one after it, without a limit.",
    "denial_audited": "A caller is refused: at most ten lines of one identity in a minute.",
    "admin_port_failed": "The thread of the admin port ended with an unforeseen error.",
    "admin_port_open": "The admin port answers probes.",
    "no_admin_token": "The file of the admin token cannot be made, so no client has a role in management.",
    "page_failed": "A page of the admin port cannot be served.",
    "credentials_replaced": "A store has new credentials, and the connections with the earlier ones end.",
    "tokens_replaced": "The tokens of management have changed where they are kept; the silo has taken them.",
    "cancelled_turn_failed": "A turn that was cancelled raised another error, which its caller need not see.",
    "ended_by_force": "The process did not end after its stop, and is ended by force.",
    "generation_ahead_of_clock": "An earlier silo at this endpoint has a generation ahead of this machine's clock.",
    "lifecycle_failed": "`on_activate`, `on_deactivate` or the end of an activation raised an error.",
    "listener_failed": "A function of yours that listens to a client, or a subscriber of events, raised an error.",
    "loop_dead": "The event loop has not run for so long that the other silos take this one for dead.",
    "no_gateway": "A client finds no gateway that answers, and keeps searching.",
    "one_way_failed": "A one-way call failed; no caller receives its error.",
    "road_closed": "The faster road to a peer is closed; gRPC carries the connection.",
    "storage_batch_failed": "A batch of changes failed in a store; each of its writers gets the error.",
    "storage_without_claims": "A store of a third party has no claims, so a second activation may write a state.",
    "store_not_safe": "A store is configured so that it may lose what it has acknowledged.",
    "system_target_failed": "A question of another silo or of a client raised an unforeseen error here.",
    "task_failed": "A background task of the silo ended with an unforeseen error.",
    "telemetry_failed": "The figures could not be exported.",
    "telemetry_lost": "A receiver of telemetry did not take the last spans or figures at the end of a silo or client.",
    "telemetry_not_installed": "The environment names a receiver of telemetry, but OpenTelemetry is not installed.",
    "timer_failed": "The callback of a timer raised an error; the timer goes on.",
    "turn_would_not_end": "A turn was cancelled, and does not end.",
}
"""The names that are no typed events: what happened."""

HEAD = """\
# Events

Each event has a name that stays the same when its text is reworded: the field `event` of its log line. `grange logs`
and the dashboard filter by it. `python -m tests.docs.event_catalogue` generates this page from the code.

## Events of a silo

Each silo keeps the newest 2,000 of these events, numbered from its start. The dashboard shows them, and clients read
them by the question `management.events`. One call publishes an event: it writes the log line, counts the event, and
keeps it.

Of one name (and of what is given as *apart by*) at most ten in a minute are logged and kept. The last of the ten says
so, and the next one afterwards says how many were suppressed. All are counted. In the texts, `{me}` is the silo that
publishes the event; the other names in braces are facts, which a log line carries in its field `facts`.

"""

MIDDLE = """
## Further names in log lines

These lines are no events of a silo: a client, the command line, or code below the silo's parts writes them.

| name | what happened | what to do |
|---|---|---|
"""


def kinds() -> dict[str, type[Event]]:
    """The typed events by name, in the order of their declarations."""
    modules = (
        catalogue,
        turn_events,
        application_events,
        reminder_events,
        certificate_events,
        secret_events,
        security_events,
        flood_events,
    )
    declared = [each for module in modules for each in vars(module).values()]
    found = [each for each in declared if isinstance(each, type) and issubclass(each, Event)]
    return {kind.NAME: kind for kind in found if kind is not Event}


def trees() -> Iterator[ast.Module]:
    """The code of the package, without its tests' tools and generated files."""
    for path in sorted((ROOT / "grange").rglob("*.py")):
        if "testing" not in path.parts and "v1" not in path.parts:
            yield ast.parse(path.read_text("utf-8"))


def constants(node: ast.AST) -> set[str]:
    """The texts in this expression that may be names of events."""
    found = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return {value for value in found if isinstance(value, str) and EVENT.fullmatch(value)}


def events_of(call: ast.Call) -> set[str]:
    """The events of one log call: `extra={"event": …}`."""
    found: set[str] = set()
    for node in (each.value for each in call.keywords if each.arg == "extra"):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            values = [value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "event"]
            found |= {name for value in values for name in constants(value)}
        else:
            found |= constants(node)
    return found


def names_in_log_calls(methods: set[str]) -> set[str]:
    """The events of all log calls of the package by these methods of a logger."""
    found: set[str] = set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in methods:
                found |= events_of(node)
    return found


def page() -> str:
    """The whole page."""
    runbooks = set(pages())
    parts = [HEAD]
    for room in dict.fromkeys(kind.LOGGER for kind in kinds().values()):
        parts.append(f"### `grange.{room}`\n\n| event | level | what happened, and its text | facts | what to do |\n")
        parts.append("|---|---|---|---|---|\n")
        parts += [_row(kind, runbooks) for kind in kinds().values() if room == kind.LOGGER]
        parts.append("\n")
    rows = (f"| `{name}` | {text} | {_runbook(name, runbooks)} |\n" for name, text in sorted(LOG_LINES.items()))
    return "".join(parts).rstrip() + "\n" + MIDDLE + "".join(rows)


def in_words(sentence: str) -> str:
    """The text of an event as a page shows it: each number with its plural."""
    return COUNTED.sub(lambda it: f"{{{it[1]}}} {it[3] or it[2] + 's'}", sentence)


def _row(kind: type[Event], runbooks: set[str]) -> str:
    what = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
    text = in_words(kind.SENTENCE).replace("|", "\\|")
    facts = ", ".join(f"`{name}`" for name in kind.__struct_fields__) or "none"
    if kind.KEY:
        facts += "; apart by " + ", ".join(f"`{name}`" for name in kind.KEY)
    level = logging.getLevelName(kind.LEVEL).lower()
    return f"| `{kind.NAME}` | {level} | {what} `{text}` | {facts} | {_runbook(kind.NAME, runbooks)} |\n"


def _runbook(name: str, runbooks: set[str]) -> str:
    return f"[runbook](../runbooks/{name}.md)" if name in runbooks else "nothing"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
