"""What happens to the files of TLS is published as events, and counted."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from grange.observability.events import Events
from grange.security.material import OF_SILO
from grange.testing.certificates import CertificateAuthority
from grange.testing.loop import VirtualTime
from grange.transport.tls_material import certificate_snapshot, open_material


async def test_each_report_is_an_event(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "grange.security")
    with VirtualTime(asyncio.get_running_loop()).installed() as time:
        ca = CertificateAuthority("shop", time.utc_now, timedelta(days=100))
        (tmp_path / "revoked.txt").write_text("")
        options = CertificateAuthority.write(tmp_path, ca.silo(timedelta(hours=1)))
        options = msgspec.structs.replace(options, revoked=str(tmp_path / "revoked.txt"), check_every=100.0)
        events = Events("silo-1")
        async with open_material(options, "shop", OF_SILO, events.publish, time.utc_now) as material:
            ends = time.utc_now().timestamp() + 3600
            assert certificate_snapshot(material).ends == pytest.approx(ends)
            assert certificate_snapshot(material).authority_ends == pytest.approx(ends - 3600 + 100 * 86400)
            await time.advance(2900)
            CertificateAuthority.write(tmp_path, ca.client("web"))
            await time.advance(300)
            CertificateAuthority.write(tmp_path, ca.silo())
            (tmp_path / "revoked.txt").write_text("ab" * 32)
            await time.advance(300)
            (tmp_path / "revoked.txt").write_text("abc")
            await time.advance(300)
            figures = certificate_snapshot(material)
            assert (figures.taken, figures.refused, figures.revoked) == (1, 1, 1)
        assert set(events.counts) == {
            "certificate_expires", "certificate_refused", "certificate_taken", "certificates_revoked",
            "revocations_refused",
        }  # fmt: skip
        assert events.counts["certificate_refused"] == 1
        refused = [each for each in caplog.messages if "keeps the certificate" in each]
        assert refused[0].startswith("silo-1 keeps the certificate that is valid until 2026-01-01T01:00:00+00:00: ")
        assert "PRIVATE" not in caplog.text
        assert len([task for task in asyncio.all_tasks() if task.get_name() == "grange-tls-material"]) == 0
