"""`grange certs`: certificates for a laptop, what is in a file, and what a silo would say to its files."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from grange.cli.commands import main
from grange.cli.exit_codes import ExitCode
from grange.testing.certificates import CertificateAuthority


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def grange(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["certs", *arguments])


def found(*arguments: str) -> dict[str, tuple[str, str]]:
    """Each check with its outcome and what was found."""
    answer = grange("check", *arguments, "--json")
    return {each["check"]: (each["outcome"], each["found"]) for each in json.loads(answer.stdout)}


def test_the_pairs_for_a_laptop_are_usable_and_their_keys_are_private() -> None:
    done = grange("dev", "--cluster", "shop", "--client", "web", "--client", "app", "--admin", "ann", "--days", "30")
    assert done.exit_code == 0, done.output
    keys = sorted(Path("certs").rglob("*.key"))
    assert [str(each.parent) for each in keys] == [
        "certs/admin/ann", "certs", "certs/client/app", "certs/client/web", "certs/silo",
    ]  # fmt: skip
    assert {stat.S_IMODE(each.stat().st_mode) for each in keys} == {0o600}
    for folder in ("silo", "client/web", "client/app", "admin/ann"):
        checked = grange("check", "--folder", f"certs/{folder}", "--cluster", "shop", "--strict")
        assert checked.exit_code == 0, checked.output
        assert f"spiffe://shop/{folder}" in checked.stdout
    for line in ('cluster = "shop"', "[tls]", 'certificate = "certs/silo/tls.crt"', 'ca = "certs/silo/ca.crt"'):
        assert line in done.stdout
    assert 'tls=TlsOptions.of_folder("certs/client/web")' in done.stdout
    assert "--tls-certificate certs/admin/ann/tls.crt --tls-key certs/admin/ann/tls.key" in done.stdout


def test_nothing_is_replaced_without_force() -> None:
    assert grange("dev").exit_code == 0
    before = Path("certs/ca.key").read_bytes()
    refused = grange("dev")
    assert refused.exit_code == ExitCode.USAGE
    assert "'certs' is there already" in refused.output
    assert Path("certs/ca.key").read_bytes() == before
    assert grange("dev", "--force").exit_code == 0
    assert Path("certs/ca.key").read_bytes() != before
    assert found("--folder", "certs/silo")["pair"][0] == "ok"


@pytest.mark.parametrize(
    "options", [("--client", "a/b"), ("--client", ".."), ("--client", "a b"), ("--cluster", ""), ("--admin", "é")]
)
def test_a_name_that_is_none_is_refused_before_anything_is_written(options: tuple[str, str]) -> None:
    refused = grange("dev", *options)
    assert refused.exit_code == ExitCode.USAGE
    assert not Path("certs").exists()


def test_a_certificate_is_shown_with_its_facts() -> None:
    grange("dev", "--cluster", "shop", "--days", "30")
    shown = grange("show", "certs/silo/tls.crt")
    assert shown.exit_code == 0
    (facts,) = json.loads(grange("show", "certs/silo/tls.crt", "--json").stdout)
    assert (facts["uris"], facts["names"]) == (["spiffe://shop/silo"], ["silo.shop.grange"])
    assert (facts["issuer"], facts["authority"], facts["key"]) == ("CN=development CA of shop", False, "EC secp256r1")
    assert 29.9 < facts["days"] <= 30
    assert len(facts["fingerprint"]) == 64
    assert all(text in shown.stdout for text in (facts["fingerprint"], "spiffe://shop/silo", facts["not_after"]))


@pytest.mark.parametrize(
    ("file", "words"), [("absent.crt", "there is no file"), (".", "cannot be read"), ("noise", "holds no certificate")]
)
def test_a_file_without_certificates_is_named(file: str, words: str) -> None:
    Path("noise").write_text("noise")
    refused = grange("show", file)
    assert refused.exit_code == ExitCode.USAGE
    assert words in refused.output


def test_what_a_silo_would_refuse_is_told_with_its_reason_and_code_1() -> None:
    ca = CertificateAuthority("shop")
    CertificateAuthority.write(Path("pair"), ca.silo(), CertificateAuthority("shop").ca)
    checked = grange("check", "--folder", "pair", "--cluster", "shop")
    assert checked.exit_code == 1
    assert "not signed by an authority in pair/ca.crt" in checked.stdout
    outcome, text = found("--folder", "pair", "--cluster", "depot")["pair"]
    assert outcome == "bad"
    assert "belongs to the cluster 'shop'" in text
    assert found("--folder", "absent")["pair"] == (
        "bad", "absent/tls.crt is not there; give the path of the file, and mount or write it before the start",
    )  # fmt: skip


def test_what_will_be_wrong_soon_is_a_warning() -> None:
    ca = CertificateAuthority("shop", valid=timedelta(days=300))
    old = CertificateAuthority("shop", valid=timedelta(seconds=1), now=lambda: ca._now() - timedelta(days=2))
    CertificateAuthority.write(Path("pair"), ca.silo(timedelta(days=90)), ca.bundle(old))
    Path("pair/tls.key").chmod(0o644)
    answers = json.loads(grange("check", "--folder", "pair", "--cluster", "shop", "--json").stdout)
    warnings = {each["check"]: each["found"] for each in answers if each["outcome"] == "warn"}
    assert set(warnings) == {"key file", "ca"}
    assert "mode 644" in warnings["key file"]
    assert "has ended; remove it" in warnings["ca"]
    assert grange("check", "--folder", "pair", "--cluster", "shop").exit_code == 0
    assert grange("check", "--folder", "pair", "--cluster", "shop", "--strict").exit_code == 1
    now = ca._now()
    short = ca.issue(["spiffe://shop/client/web"], [], timedelta(days=91), now - timedelta(days=80))
    CertificateAuthority.write(Path("pair"), short)
    outcome, text = found("--folder", "pair", "--cluster", "shop")["certificate"]
    assert outcome == "warn"
    assert "ends in 11.0 days" in text


def test_a_folder_without_tls_says_how_to_begin() -> None:
    refused = grange("check")
    assert refused.exit_code == ExitCode.USAGE
    assert "no table [tls]; `grange certs dev` makes one" in refused.output


def test_without_a_folder_the_table_of_the_silo_here_is_checked() -> None:
    """By `grange.toml`, with another option of the table, which is no text."""
    table = [line.strip() for line in grange("dev", "--cluster", "shop").stdout.splitlines() if line.startswith("  ")]
    Path("grange.toml").write_text("\n".join([*table, "check_every = 5", 'speaks_for = ["spiffe://shop/client/web"]']))
    assert {outcome for outcome, _ in found().values()} == {"ok"}
    assert "spiffe://shop/silo" in found()["pair"][1]
    Path("certs/silo/tls.key").write_bytes(Path("certs/client/web/tls.key").read_bytes())
    assert grange("check").exit_code == 1
    assert "certs/silo/tls.key holds the key of another certificate" in found()["pair"][1]


def test_a_folder_is_checked_also_where_the_silo_here_lacks_a_secret() -> None:
    grange("dev", "--cluster", "shop")
    Path("grange.toml").write_text('storage = "${file:absent}"')
    assert grange("check", "--folder", "certs/silo", "--cluster", "shop").exit_code == 0


def test_a_wrong_option_of_the_table_is_named() -> None:
    Path("grange.toml").write_text('[tls]\ncertifcate = "a"\n')
    refused = grange("check")
    assert refused.exit_code == ExitCode.USAGE
    assert "certifcate" in refused.output
