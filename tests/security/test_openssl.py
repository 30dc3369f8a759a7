"""openssl agrees: what `grange certs dev` and the tests issue is right, and what is refused here it refuses too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from grange.errors import ConfigurationError
from grange.security.authority import IssuedPair
from grange.security.pair import PemFiles, check_pair, describe_pem
from grange.security.revocations import parse_revocations
from grange.testing.certificates import CertificateAuthority
from tests.tools import tool

pytestmark = pytest.mark.tools


def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("openssl"), *arguments], capture_output=True, text=True, check=False)


def verify(folder: Path, purpose: str) -> bool:
    done = openssl(
        "verify", "-x509_strict", "-purpose", purpose, "-CAfile", str(folder / "ca.crt"),
        "-untrusted", str(folder / "tls.crt"), str(folder / "tls.crt"),
    )  # fmt: skip
    return done.returncode == 0


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_an_issued_pair_is_right_for_both_ends(tmp_path: Path, depth: int) -> None:
    ca = CertificateAuthority("shop")
    for _ in range(depth):
        ca = CertificateAuthority("shop", parent=ca)
    pair = ca.silo()
    CertificateAuthority.write(tmp_path, pair)
    assert verify(tmp_path, "sslserver")
    assert verify(tmp_path, "sslclient")
    assert openssl("x509", "-in", str(tmp_path / "tls.crt"), "-noout", "-checkhost", "silo.shop.grange").returncode == 0
    text = openssl("x509", "-in", str(tmp_path / "tls.crt"), "-noout", "-ext", "subjectAltName").stdout
    assert "URI:spiffe://shop/silo, DNS:silo.shop.grange" in text
    key = openssl("pkey", "-in", str(tmp_path / "tls.key"), "-pubout").stdout
    assert key == openssl("x509", "-in", str(tmp_path / "tls.crt"), "-noout", "-pubkey").stdout


def test_a_chain_that_is_refused_here_is_refused_there(tmp_path: Path) -> None:
    ca, other = CertificateAuthority("shop"), CertificateAuthority("shop")
    below = CertificateAuthority("shop", parent=ca).silo()
    end = b"-----END CERTIFICATE-----\n"
    alone = IssuedPair(below.certificate.partition(end)[0] + end, below.key, below.ca)
    foreign = IssuedPair(ca.silo().certificate, ca.silo().key, other.ca)
    for number, (pair, is_right) in enumerate([(below, True), (alone, False), (foreign, False)]):
        folder = tmp_path / str(number)
        CertificateAuthority.write(folder, pair)
        assert verify(folder, "sslserver") is is_right
        files = PemFiles(pair.certificate, pair.key, pair.ca)
        try:
            check_pair(files, "shop", ("silo",), describe_pem(pair.ca, "ca")[0].not_before + 1000)
        except ConfigurationError:
            assert not is_right
        else:
            assert is_right


def test_its_fingerprint_is_read_as_a_revocation(tmp_path: Path) -> None:
    pair = CertificateAuthority("shop").client("web")
    CertificateAuthority.write(tmp_path, pair)
    line = openssl("x509", "-in", str(tmp_path / "tls.crt"), "-noout", "-fingerprint", "-sha256").stdout
    assert parse_revocations(line.encode(), "revoked.txt") == {describe_pem(pair.certificate, "tls.crt")[0].fingerprint}


def test_a_certificate_of_openssl_is_accepted(tmp_path: Path) -> None:
    """RSA, by openssl's own commands: what a company's own authority may issue."""
    ca, request, leaf = tmp_path / "ca.crt", tmp_path / "tls.csr", tmp_path / "tls.crt"
    extensions = tmp_path / "extensions"
    extensions.write_text("subjectAltName=URI:spiffe://shop/silo,DNS:silo.shop.grange\n")
    for arguments in (
        ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{tmp_path}/ca.key", "-out", f"{ca}",
         "-subj", "/O=Shop/CN=Root", "-days", "30"),
        ("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{tmp_path}/tls.key", "-out", f"{request}",
         "-subj", "/CN=silo"),
        ("x509", "-req", "-in", f"{request}", "-CA", f"{ca}", "-CAkey", f"{tmp_path}/ca.key", "-out", f"{leaf}",
         "-days", "7", "-extfile", f"{extensions}", "-CAcreateserial"),
    ):  # fmt: skip
        done = openssl(*arguments)
        assert done.returncode == 0, done.stderr
    files = PemFiles(leaf.read_bytes(), (tmp_path / "tls.key").read_bytes(), ca.read_bytes())
    own, root = check_pair(files, "shop", ("silo",), describe_pem(files.certificate, "tls.crt")[0].not_before + 1)
    assert (own.key, root.subject) == ("RSA 2048", "CN=Root,O=Shop")
