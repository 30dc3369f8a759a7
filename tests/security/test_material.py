"""The files of TLS are read again while a process runs: good pairs are used, and the last good one stays otherwise.

The files are real, the time is virtual.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from grange.errors import ConfigurationError
from grange.security.authority import IssuedPair, write_file
from grange.security.material import OF_CLIENT, OF_SILO, Material
from grange.testing.certificates import CertificateAuthority
from grange.testing.loop import VirtualTime
from tests.security.reports import Kept

LOOK = 10 + 2
"""Seconds after which a content that stays is judged: one look, and one more."""


class Process:
    """One process with its material, in virtual time."""

    def __init__(self, material: Material, kept: Kept, time: VirtualTime, ca: CertificateAuthority, folder: Path):
        self.material, self.kept, self.time, self.ca, self.folder = material, kept, time, ca, folder

    def write(self, pair: IssuedPair, ca: bytes | None = None) -> None:
        CertificateAuthority.write(self.folder, pair, ca)

    @property
    def certificate(self) -> bytes:
        return self.material.current.certificate


@asynccontextmanager
async def process(folder: Path, revoked: str | None = None, valid: timedelta = timedelta(days=90), every: float = 10):
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        ca = CertificateAuthority("shop", time.utc_now, timedelta(days=365))
        options = msgspec.structs.replace(CertificateAuthority.write(folder, ca.silo(valid)), check_every=every)
        if revoked is not None:
            (folder / "revoked.txt").write_text(revoked)
            options = msgspec.structs.replace(options, revoked=str(folder / "revoked.txt"))
        kept = Kept()
        material = await Material.open(options, "shop", OF_SILO, kept, time.utc_now)
        task = asyncio.create_task(material.run())
        try:
            yield Process(material, kept, time, ca, folder)
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()


async def test_a_new_pair_is_used_and_told(tmp_path: Path) -> None:
    async with process(tmp_path) as own:
        changes = []
        end = own.material.on_change(changes.append)
        first, second = own.material.current, own.ca.silo()
        own.write(second)
        await own.time.advance(LOOK)
        current = own.material.current
        assert (current.certificate, current.key, current.ca) == (second.certificate, second.key, second.ca)
        assert (first.number, current.number, own.material.taken) == (1, 2, 1)
        assert changes == own.kept.pairs == [current]
        assert current.facts.fingerprint != first.facts.fingerprint
        assert "PRIVATE" not in repr(current)
        end()
        end()
        own.write(own.ca.silo())
        await own.time.advance(LOOK)
        assert (own.material.current.number, len(changes)) == (3, 1)
        assert own.kept.problems == []


async def test_a_pair_is_used_only_if_it_can_be_used(tmp_path: Path) -> None:
    """The last good pair stays in use, and each refused content is told once."""
    async with process(tmp_path) as own:
        good = own.certificate
        other = CertificateAuthority("shop", own.time.utc_now)
        expired = own.ca.issue(
            ["spiffe://shop/silo"], ["silo.shop.grange"], timedelta(hours=1), own.time.utc_now() - timedelta(hours=2)
        )
        for pair, words in (
            (other.silo(), None),
            (expired, "has expired"),
            (own.ca.client("web"), "names a client"),
            (IssuedPair(own.ca.silo().certificate, own.ca.silo().key, own.ca.ca), "the key of another certificate"),
        ):
            own.write(pair, own.ca.ca)
            await own.time.advance(100)
            assert own.certificate == good
            assert (words or "not signed by an authority") in own.kept.problems.pop()
            assert own.kept.problems == []
        assert (own.material.taken, own.kept.pairs) == (0, [])
        assert own.material.refusals == 4
        new = own.ca.silo()
        own.write(new)
        await own.time.advance(LOOK)
        assert own.certificate == new.certificate


async def test_a_content_that_comes_back_is_told_again(tmp_path: Path) -> None:
    async with process(tmp_path) as own:
        good = IssuedPair(own.material.current.certificate, own.material.current.key, own.material.current.ca)
        bad = own.ca.client("web")
        for _ in range(2):
            own.write(bad)
            await own.time.advance(50)
            own.write(good)
            await own.time.advance(50)
        assert len(own.kept.problems) == 2
        assert own.material.taken == 0


async def test_a_certificate_whose_time_has_not_come_is_used_when_it_has(tmp_path: Path) -> None:
    async with process(tmp_path) as own:
        early = own.ca.issue(
            ["spiffe://shop/silo"], ["silo.shop.grange"], timedelta(days=5), own.time.utc_now() + timedelta(hours=1)
        )
        own.write(early)
        await own.time.advance(1800)
        assert own.certificate != early.certificate
        assert "not valid before" in own.kept.problems[0]
        await own.time.advance(1900)
        assert own.certificate == early.certificate
        assert len(own.kept.problems) == 1


async def test_a_pair_that_is_written_in_parts_raises_no_alarm(tmp_path: Path) -> None:
    """Each look finds another part of it: only what two looks in a row have found is judged."""
    ca, kept = CertificateAuthority("shop"), Kept()
    material = await Material.open(CertificateAuthority.write(tmp_path, ca.silo()), "shop", OF_SILO, kept)
    good, new = material.current, ca.silo()
    for name, content in (
        ("tls.crt", new.certificate[:100]), ("tls.crt", new.certificate), ("tls.key", new.key[:100]),
        ("tls.key", new.key),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert await material.look(), "it asks for one more look, soon"
        assert material.current is good
    assert not await material.look()
    assert material.current.certificate == new.certificate
    assert (kept.problems, material.refusals) == ([], 0)


async def test_a_bundle_of_authorities_that_is_half_written_is_not_trusted(tmp_path: Path) -> None:
    """The first authority of two would do for the own certificate, and would shut out the peers of the second."""
    async with process(tmp_path) as own:
        whole = own.ca.bundle(CertificateAuthority("shop", own.time.utc_now))
        (tmp_path / "ca.crt").write_bytes(whole[: len(own.ca.ca) + 100])
        await own.time.advance(60)
        assert own.material.current.ca == own.ca.ca
        assert "holds a certificate in part" in own.kept.problems[0]
        (tmp_path / "ca.crt").write_bytes(whole)
        await own.time.advance(LOOK)
        assert own.material.current.ca == whole


async def test_a_link_to_another_folder_is_followed_twice(tmp_path: Path) -> None:
    """As Kubernetes changes a secret: `tls.crt -> ..data/tls.crt`, `..data -> ..2026_01`, renamed over the old link."""
    mount = tmp_path / "mount"

    def publish(number: int, pair: IssuedPair) -> None:
        CertificateAuthority.write(mount / f"..{number}", pair)
        (mount / "..data_tmp").symlink_to(f"..{number}")
        (mount / "..data_tmp").replace(mount / "..data")
        if number:
            shutil.rmtree(mount / f"..{number - 1}")

    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        ca = CertificateAuthority("shop", time.utc_now)
        publish(0, ca.silo())
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (mount / name).symlink_to(f"..data/{name}")
        options = msgspec.structs.replace(
            CertificateAuthority.write(tmp_path / "unused", ca.silo()),
            certificate=str(mount / "tls.crt"), key=str(mount / "tls.key"), ca=str(mount / "ca.crt"),
        )  # fmt: skip
        kept = Kept()
        material = await Material.open(options, "shop", OF_SILO, kept, time.utc_now)
        task = asyncio.create_task(material.run())
        for number in (1, 2, 3):
            pair = ca.silo()
            publish(number, pair)
            await time.advance(LOOK)
            assert material.current.certificate == pair.certificate
        assert kept.problems == []
        task.cancel()
        await asyncio.wait([task])


async def test_a_file_that_is_gone_or_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    async with process(tmp_path) as own:
        good = own.certificate
        (tmp_path / "tls.key").unlink()
        await own.time.advance(60)
        (tmp_path / "tls.key").mkdir()
        await own.time.advance(60)
        (tmp_path / "tls.key").rmdir()
        write_file(tmp_path / "tls.key", b"x" * 2_000_000, 0o600)
        await own.time.advance(60)
        assert own.certificate == good
        assert [problem.partition("tls.key ")[2][:20] for problem in own.kept.problems] == [
            "is not there; give t", "cannot be read: it i", "cannot be read: it i",
        ]  # fmt: skip


async def test_a_file_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, largest: int) -> bytes:
        raise PermissionError(13, "Permission denied")

    ca = CertificateAuthority("shop")
    options = CertificateAuthority.write(tmp_path, ca.silo())
    monkeypatch.setattr("grange.security.material.bytes_of", denied)  # root may read each file
    with pytest.raises(ConfigurationError, match=r"tls\.crt cannot be read by the user of this process"):
        await Material.open(options, "shop", OF_SILO, Kept())


async def test_a_start_with_wrong_files_fails_at_once(tmp_path: Path) -> None:
    ca = CertificateAuthority("shop")
    options = CertificateAuthority.write(tmp_path, ca.silo())
    with pytest.raises(ConfigurationError, match="names a silo"):
        await Material.open(options, "shop", OF_CLIENT, Kept())
    with pytest.raises(ConfigurationError, match="belongs to the cluster 'shop'"):
        await Material.open(options, "depot", OF_SILO, Kept())
    with pytest.raises(ConfigurationError, match=r"revoked\.txt is not there"):
        await Material.open(
            msgspec.structs.replace(options, revoked=str(tmp_path / "revoked.txt")), "shop", OF_SILO, Kept()
        )
    (tmp_path / "tls.crt").unlink()
    with pytest.raises(ConfigurationError, match=r"tls\.crt is not there"):
        await Material.open(options, "shop", OF_SILO, Kept())


async def test_the_end_of_a_certificate_is_told_from_14_days_before_it_and_every_day(tmp_path: Path) -> None:
    """A warning 14 days before the end, and then each day, also afterwards."""
    async with process(tmp_path, valid=timedelta(days=90), every=3600.0) as own:
        day = 86_400
        await own.time.advance(75.5 * day)
        assert own.kept.ends == []
        await own.time.advance(15.5 * day)
        assert {subject for subject, _ in own.kept.ends} == {"spiffe://shop/silo"}
        days = [round(left / day) for _, left in own.kept.ends]
        assert days == [*range(14, -1, -1), -1][: len(days)]
        assert days[-2:] == [0, -1] or days[-1] == 0
        assert own.kept.ends[-1][1] <= 0
        own.write(own.ca.silo(timedelta(days=30)))
        await own.time.advance(2 * 3600)
        told = len(own.kept.ends)
        await own.time.advance(3 * day)
        assert len(own.kept.ends) == told


async def test_the_end_of_a_short_certificate_is_told_in_its_last_quarter(tmp_path: Path) -> None:
    async with process(tmp_path, valid=timedelta(hours=24), every=100.0) as own:
        await own.time.advance(17.9 * 3600)
        assert own.kept.ends == []
        await own.time.advance(5.9 * 3600)
        assert 3 <= len(own.kept.ends) <= 4


async def test_the_end_of_an_authority_is_told_too(tmp_path: Path) -> None:
    """A root that ends takes the cluster down with it, although each certificate below it was renewed."""
    async with process(tmp_path, valid=timedelta(days=400), every=3600.0) as own:
        await own.time.advance(352 * 86_400)
        assert {subject for subject, _ in own.kept.ends} == {"CN=CA of shop"}


async def test_revoked_certificates_are_known_soon_after_they_are_written(tmp_path: Path) -> None:
    async with process(tmp_path, revoked="# none yet\n") as own:
        told = []
        own.material.on_revoked(lambda: told.append(own.time.time()))
        stolen = "ab" * 32
        assert not own.material.is_revoked(stolen)
        (tmp_path / "revoked.txt").write_text(f"{stolen.upper()}  # the laptop of web\n")
        start = own.time.time()
        while not told:
            await own.time.advance(0.5)
        assert told[0] - start <= 12
        assert own.material.is_revoked(stolen)
        assert own.kept.revocations == [(1, 0, 1)]


async def test_a_broken_list_of_revocations_takes_nothing_back(tmp_path: Path) -> None:
    stolen = "ab" * 32
    async with process(tmp_path, revoked=stolen) as own:
        for text in (f"{'cd' * 32}\nabc\n", "\xff", None):
            if text is None:
                (tmp_path / "revoked.txt").unlink()
            else:
                (tmp_path / "revoked.txt").write_bytes(text.encode("latin-1"))
            await own.time.advance(60)
            assert own.material.is_revoked(stolen)
            assert not own.material.is_revoked("cd" * 32)
        assert [each.rpartition("revoked.txt")[2][:14] for each in own.kept.list_problems] == [
            ", line 2: 'abc", " is not UTF-8 ", " is not there;",
        ]  # fmt: skip


async def test_a_revoked_pair_is_not_used(tmp_path: Path) -> None:
    async with process(tmp_path, revoked="") as own:
        good, new = own.certificate, own.ca.silo()
        options = CertificateAuthority.write(tmp_path / "other", new)
        fingerprint = (
            await Material.open(options, "shop", OF_SILO, Kept(), own.time.utc_now)
        ).current.facts.fingerprint
        (tmp_path / "revoked.txt").write_text(fingerprint)
        own.write(new)
        await own.time.advance(60)
        assert own.certificate == good
        assert "is revoked" in own.kept.problems[0]
        (tmp_path / "revoked.txt").write_text("")
        await own.time.advance(60)
        assert own.certificate == new.certificate


async def test_a_mistake_in_a_check_does_not_end_the_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with process(tmp_path) as own:
        with monkeypatch.context() as patch:

            def mistaken(*_: object) -> None:
                raise ZeroDivisionError("with a part of a secret")

            patch.setattr("grange.security.material.check_pair", mistaken)
            own.write(own.ca.silo())
            await own.time.advance(60)
            assert own.kept.problems == ["the pair cannot be checked: ZeroDivisionError"]
        await own.time.advance(60)
        assert own.material.taken == 1
