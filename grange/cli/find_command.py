"""`grange grains TYPE`: the activations of one type that match, of all silos, in one order."""

from __future__ import annotations

import asyncio

import msgspec

from grange.cli.cluster_wide import Answers, ask_silos, chosen, hosts_of, name_of
from grange.cli.output import Output, Rows
from grange.cli.remote import RemoteCluster
from grange.cli.tables import Facts, duration, table_of
from grange.client.client import Client
from grange.client.questions import Question
from grange.counted import counted
from grange.errors import ConfigurationError
from grange.proto.inspection import FIND, ActivationRow, FindActivations, FoundActivations
from grange.proto.management import encode

SORTS = ("key", "age", "idle", "waiting", "turn")


def list_activations(cluster: RemoteCluster, output: Output, query: FindActivations, silo: str) -> None:
    """Show the best rows of all silos, how many matched, and what was left out.

    `cursor` of the query holds those of the silos, as the output shows it.
    """
    cursors = read_cursor(query.cursor)
    answers = cluster.ask(lambda client: _search(client, query, silo, cursors))
    rows = [(member, row) for member, found in answers.given for row in found.rows]
    rows.sort(key=lambda each: _order(each[1], query.sort))
    matches = sum(found.matches for _, found in answers.given)
    looked, total = (sum(getattr(found, name) for _, found in answers.given) for name in ("looked_at", "total"))
    cut = [name_of(member) for member, found in answers.given if found.cut]
    cursor = write_cursor({str(member.address): found.cursor for member, found in answers.given if found.cursor})
    notes = [
        f"{len(rows)} of {counted(matches, 'match', 'matches')}; looked at {looked} of {counted(total, 'activation')}"
    ]
    notes += [f"the search was cut at its budget on: {', '.join(cut)}"] if cut else []
    notes += [f"more: --cursor {cursor}"] if cursor else []
    listed: list[Facts] = [row_facts(str(member.address), name_of(member), row) for member, row in rows]
    facts = {
        "activations": listed,
        "total": matches,
        "looked_at": looked,
        "activations_in_all": total,
        "cut": cut,
        "cursor": cursor,
        "problems": answers.problem_facts(),
    }
    output.show(facts, rows_table(listed), *notes, *answers.notes())


async def _search(
    client: Client, query: FindActivations, silo: str, cursors: dict[str, str]
) -> Answers[FoundActivations]:
    """The answers of all silos, or of those that have a cursor: the others have shown all their rows."""
    hosts_of(client.view, query.type)
    members = [each for each in chosen(client.view, silo) if not cursors or str(each.address) in cursors]
    queries = [msgspec.structs.replace(query, cursor=cursors.get(str(each.address), "")) for each in members]
    parts = await asyncio.gather(
        *(
            ask_silos(client, [member], Question(FIND, encode(asked), FoundActivations))
            for member, asked in zip(members, queries, strict=True)
        )
    )
    return Answers(tuple(each for part in parts for each in part.every))


def read_cursor(text: str) -> dict[str, str]:
    """The cursor of each silo. Raises ConfigurationError for a text that is no cursor."""
    if not text:
        return {}
    try:
        return msgspec.json.decode(bytes.fromhex(text), type=dict[str, str])
    except (ValueError, msgspec.MsgspecError):
        raise ConfigurationError("--cursor: give the cursor of an earlier answer as it was shown") from None


def write_cursor(cursors: dict[str, str]) -> str:
    """The cursors of all silos as one word; empty if no silo has more."""
    return msgspec.json.encode(cursors).hex() if cursors else ""


def _order(row: ActivationRow, sort: str) -> tuple[float, str]:
    return (0.0 if sort == "key" else -float(getattr(row, sort)), str(row.grain_id))


def row_facts(silo: str, name: str, row: ActivationRow) -> Facts:
    """One activation, with the address and the name of its silo."""
    return {
        "grain": str(row.grain_id),
        "silo": silo,
        "silo_name": name,
        "phase": row.phase,
        "age": round(row.age, 1),
        "idle": round(row.idle, 1),
        "waiting": row.waiting,
        "running": row.running,
        "turn": round(row.turn, 3),
    }


def rows_table(rows: list[Facts]) -> Rows:
    """The table of `grange grains TYPE`."""
    table = table_of("grain", "silo", "phase", "age", "idle", "waiting", "running", "turn")
    for row in rows:
        times = duration(row["age"]), duration(row["idle"])
        turn = f"{row['turn']:g} s" if row["turn"] else ""
        table.add_texts(
            row["grain"], row["silo_name"], row["phase"], *times, str(row["waiting"]), str(row["running"]), turn
        )
    return table
