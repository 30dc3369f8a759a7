"""The story of the table: for two views in order, which rows were written between them, by which silos and why. Pure.

A row names its last write (`Written`). A silo that read no table in between therefore still knows the version of each
row that changed; only the earlier ones of several writes of one row are unknown, and it says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from grange.membership.model.member import Member, SiloStatus, View
from grange.observability.catalogue import MembershipChanged, MembershipRead
from grange.proto.ids import SiloAddress

UNKNOWN = "an unknown silo"
"""The writer of a row that an older version of grange wrote."""


def first_read(view: View) -> MembershipRead:
    """The event of a silo's first view: earlier versions are only in the memory of other silos."""
    count = {status: len(view.with_status(status)) for status in SiloStatus}
    return MembershipRead(view.version, count[SiloStatus.ACTIVE], count[SiloStatus.JOINING], count[SiloStatus.DEAD])


def changes(before: View, after: View) -> list[MembershipChanged]:
    """One event for each row that was written, added or removed, in the order of the versions.

    Versions that no row of `after` explains make one more event, first.
    """
    old = {member.address: member for member in before.members}
    new = {member.address: member for member in after.members}
    events = [
        _event(before, after, member, _change(old.get(silo), member))
        for silo, member in new.items()
        if _change(old.get(silo), member)
    ]
    events += [_swept(before, after, member) for silo, member in old.items() if silo not in new]
    events.sort(key=lambda event: (event.version, event.member))
    return [*_passed(before, after, events), *events]


def _change(old: Member | None, new: Member) -> str:
    """The word for the change of a row; empty: it is the same."""
    if old is None or old.status is not new.status:
        return {
            SiloStatus.JOINING: "joins",
            SiloStatus.ACTIVE: "is active",
            SiloStatus.LEAVING: "leaves",
            SiloStatus.DEAD: "is dead",
        }[new.status]
    if old.votes != new.votes:
        return "is suspected" if len(new.votes) >= len(old.votes) else "lost votes"
    if old.written != new.written:
        return "was written again"
    return ""


def _event(before: View, after: View, member: Member, change: str) -> MembershipChanged:
    written = member.written
    exact = written is not None and before.version < written.version <= after.version
    first = version = written.version if written is not None and exact else after.version
    if not exact:
        first = before.version + 1
    return MembershipChanged(
        version=version,
        first=first,
        member=str(member.address),
        status=member.status.value,
        change=change,
        by=str(written.by) if written is not None and exact else UNKNOWN,
        why=written.why if written is not None and exact else "the row does not say why",
        versions=_versions(first, version),
    )


def _swept(before: View, after: View, member: Member) -> MembershipChanged:
    """A row that is gone. The cleaner of the view before has removed it (`cleanup.is_cleaner`)."""
    cleaner: SiloAddress | None = min((each.address for each in before.active), default=None)
    return MembershipChanged(
        version=after.version,
        first=before.version + 1,
        member=str(member.address),
        status=member.status.value,
        change="was removed",
        by=UNKNOWN if cleaner is None else str(cleaner),
        why="it had been dead for long",
        versions=_versions(before.version + 1, after.version),
    )


def _passed(before: View, after: View, events: list[MembershipChanged]) -> Iterator[MembershipChanged]:
    """An event for the versions that no row explains; none if there are none."""
    known = {version for event in events for version in range(event.first, event.version + 1)}
    passed = [version for version in range(before.version + 1, after.version + 1) if version not in known]
    if passed:
        yield MembershipChanged(
            version=passed[-1],
            first=passed[0],
            member="a row",
            status="",
            change="was written",
            by=UNKNOWN,
            why=f"this silo read only version {after.version}",
            versions=_versions(passed[0], passed[-1]),
        )


def _versions(first: int, last: int) -> str:
    return f"version {last}" if first == last else f"versions {first} to {last}"
