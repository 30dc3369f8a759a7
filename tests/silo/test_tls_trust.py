"""`grange certs silos`: the certificate of each silo, the authorities it trusts, what its connections show (S8)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from grange.cli.commands import main
from grange.security.pair import describe_pem
from grange.testing.certificates import CertificateAuthority
from tests.silo.secured import CLUSTER, secured, settled


async def test_each_silo_tells_what_it_has_trusts_and_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """During a change of the authority, one silo trusts both already, and the other one does not."""
    monkeypatch.setenv("COLUMNS", "200")
    async with secured(tmp_path) as shop:
        both = shop.authority.bundle(new := CertificateAuthority(CLUSTER))
        files = shop.options(shop.authority.silo(), both)
        ahead = {"certificate": files.certificate, "key": files.key, "ca": files.ca}
        silos = [await shop.start(ahead, name="one"), await shop.start(shop.table(), name="two")]
        admin = shop.options(shop.authority.admin("ann"))
        async with shop.client(silos[0].gateway, tls=shop.options(shop.authority.client("web"))) as client:
            await settled(client, *silos)
            command = ["certs", "silos", "--gateway", silos[0].gateway, "--cluster", CLUSTER]
            for option, name in (("certificate", admin.certificate), ("key", admin.key), ("ca", admin.ca)):
                command += [f"--tls-{option}", name]
            shown = await asyncio.to_thread(CliRunner().invoke, main, [*command, "--json"])
            text = (await asyncio.to_thread(CliRunner().invoke, main, command)).output
    one, two = sorted(json.loads(shown.output)["silos"], key=lambda silo: str(silo["silo"]))
    (old_root,), (new_root,) = (describe_pem(each.ca, "ca") for each in (shop.authority, new))
    assert [each["fingerprint"] for each in one["authorities"]] == [old_root.fingerprint, new_root.fingerprint]
    assert [each["fingerprint"] for each in two["authorities"]] == [old_root.fingerprint]
    assert one["chain"][0]["name"] == "spiffe://shop/silo"
    assert 0.9 < one["chain"][0]["days"] <= 1.0
    seen = {each["name"]: each for each in one["peers"]}
    assert seen["spiffe://shop/client/web"]["connections"] == 1
    assert seen["spiffe://shop/client/web"]["oldest"] >= 0
    assert "spiffe://shop/silo" in seen
    assert "trusts" in text
    assert new_root.fingerprint[:16] in text


async def test_a_silo_without_tls_says_so(tmp_path: Path) -> None:
    async with secured(tmp_path) as shop:
        silo = await shop.start(name="plain", admin_token="a-token-of-an-admin")
        command = ["certs", "silos", "--gateway", silo.gateway, "--cluster", CLUSTER]
        environment = {"GRANGE_ADMIN_TOKEN": "a-token-of-an-admin"}
        text = (await asyncio.to_thread(CliRunner(env=environment).invoke, main, command)).output
    assert "plain has no TLS" in text
