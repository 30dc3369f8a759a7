"""The rows of each table for people, and the same facts as JSON values for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from grange.cli.output import Rows
from grange.client.questions import Answer
from grange.membership.model.member import Member, View
from grange.proto.ids import endpoint_of
from grange.proto.management import SiloState

Facts = dict[str, Any]
"""One object as JSON values; the keys are part of the command line's contract."""


def member_facts(member: Member) -> Facts:
    """One row of the membership table."""
    return {
        "address": str(member.address),
        "name": member.name,
        "status": str(member.status),
        "cordoned": member.cordoned,
        "gateway": gateway_of(member),
        "road": "tcp" if member.road else "grpc",
        "tls": tls_of(member),
        "started": member.started.isoformat(timespec="seconds"),
        "labels": list(member.labels),
        "grains": dict(sorted(member.grains.items())),
        "versions": {name: dict(sorted(each.items())) for name, each in sorted(member.versions.items())},
        "services": list(member.services),
        "suspected_by": [str(vote.voter) for vote in member.votes],
    }


def state_facts(answer: Answer[SiloState]) -> Facts:
    """The state that a silo reports of itself; without an answer, `problem` is the reason."""
    state = answer.answer
    facts = {"address": str(answer.member.address), "name": answer.member.name, "status": str(answer.member.status)}
    if state is None:
        return {**facts, "problem": answer.problem}
    return {
        **facts,
        "version": state.version,
        "uptime": round(state.uptime, 1),
        "activations": dict(sorted(state.activations.items())),
        "requests": state.requests,
        "duplicates": state.duplicates,
        "repaired": state.repaired,
        "stale": state.stale,
        "table": state.table,
        "fenced": state.fenced,
        "ready": state.ready,
        "score": state.score,
        "withheld": state.withheld,
        "plain": state.plain,
    }


def silos_table(members: Iterable[Member]) -> Rows:
    """The table of `grange silos`."""
    table = table_of("silo", "name", "status", "gateway", "road", "tls", "started", "labels", "grain types")
    for member in members:
        facts = member_facts(member)
        labels, grains = ", ".join(facts["labels"]), ", ".join(facts["grains"])
        status = f"{facts['status']}, cordoned" if member.cordoned else facts["status"]
        place = (facts[key] for key in ("gateway", "road", "tls", "started"))
        table.add_texts(facts["address"], facts["name"], status, *place, labels, grains)
    return table


def status_table(answers: Iterable[Answer[SiloState]]) -> Rows:
    """The table of `grange status`."""
    answers = list(answers)
    has_tls = any(answer.member.tls for answer in answers)
    plain = ("without TLS",) if has_tls else ()
    rows = table_of("silo", "name", "status", "uptime", "activations", "requests", "duplicates", *plain, "table")
    for answer in answers:
        state, member = answer.answer, answer.member
        cells = ("", "", "", "", *("" for _ in plain), answer.lack)
        if state is not None:
            active = str(sum(state.activations.values()))
            table = f"{state.table}, fenced" if state.fenced else state.table
            figures = (duration(state.uptime), active, str(state.requests), str(state.duplicates))
            cells = (*figures, *(str(state.plain) for _ in plain), table)
        rows.add_texts(str(member.address), member.name, str(member.status), *cells)
    return rows


def types_table(counts: Mapping[str, Mapping[str, int]], view: View) -> Rows:
    """The table of `grange grains`: all types."""
    table = table_of("grain type", "placement", "activations", "on silos", "hosted by", "versions")
    placements = {name: placement for member in view.active for name, placement in member.grains.items()}
    for name, silos in counts.items():
        spread = ", ".join(f"{silo}: {count}" for silo, count in sorted(silos.items()))
        hosts, versions = hosts_of(view, name)
        table.add_texts(name, placements.get(name, ""), str(sum(silos.values())), spread, hosts, versions)
    return table


def hosts_of(view: View, grain_type: str) -> tuple[str, str]:
    """The active silos that host a type ("all" if every one does), and the versions of its interfaces, as texts."""
    hosting = [member for member in view.active if grain_type in member.grains]
    names = ", ".join(member.name or member.address.endpoint for member in hosting)
    found: dict[str, set[int]] = {}
    for member in hosting:
        for interface, version in member.versions.get(grain_type, {}).items():
            found.setdefault(interface, set()).add(version)
    versions = [f"{interface} {', '.join(map(str, sorted(numbers)))}" for interface, numbers in sorted(found.items())]
    return "all" if len(hosting) == len(view.active) else names, "; ".join(versions)


def problems(answers: Iterable[Answer[Any]]) -> list[str]:
    """A line for each silo that did not answer."""
    return [f"{answer.member.address}: {answer.problem}" for answer in answers if answer.answer is None]


def gateway_of(member: Member) -> str:
    """The host:port for clients; empty for a silo without a gateway."""
    return endpoint_of(member.address.host, member.gateway) if member.gateway else ""


def tls_of(member: Member) -> str:
    """Whether a silo has TLS: `no`, `both` (beside ports without it), or `required`."""
    if not member.tls:
        return "no"
    return "required" if member.tls == member.address.port else "both"


def duration(seconds: float) -> str:
    """A duration in its two largest units: `42s`, `3m05s`, `2h03m`, `5d07h`."""
    whole = int(seconds)
    for size, name, part, part_size in ((86400, "d", "h", 3600), (3600, "h", "m", 60), (60, "m", "s", 1)):
        if whole >= size:
            return f"{whole // size}{name}{whole % size // part_size:02}{part}"
    return f"{whole}s"


def table_of(*columns: str) -> Rows:
    """An empty table with these columns."""
    table = Rows()
    for column in columns:
        table.add_column(column, no_wrap=column not in {"grain types", "table"})
    return table
