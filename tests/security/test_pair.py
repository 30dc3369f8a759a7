"""A pair of certificate and key is checked before it is used, and each refusal names the file and the remedy."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from grange.errors import ConfigurationError
from grange.security.authority import Authority, IssuedPair, Validity
from grange.security.pair import (
    LARGEST_PEM,
    MOST_CERTIFICATES,
    PemFiles,
    check_pair,
    describe_pem,
    peer_certificate,
    with_cryptography,
)
from grange.testing.certificates import CertificateAuthority

CA = CertificateAuthority("shop")
OTHER = CertificateAuthority("shop")
SILO = CA.silo()
URI = "spiffe://shop/silo"
NAME = "silo.shop.grange"


def check(pair: IssuedPair, ca: bytes | None = None, key: bytes | None = None, **options):
    files = PemFiles(pair.certificate, pair.key if key is None else key, ca or pair.ca, "tls.crt", "tls.key", "ca.crt")
    return check_pair(
        files, options.get("cluster", "shop"), options.get("roles", ("silo",)), options.get("now", time.time())
    )


def replaced(pair: IssuedPair, certificate: bytes) -> IssuedPair:
    return IssuedPair(certificate, pair.key, pair.ca)


def signed_by_hand(key, uses=(), signer=CA, is_authority=False, uri=URI) -> IssuedPair:
    """A pair with a key of another kind or other uses."""
    authority = signer._authority
    now = CA._now()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([])).issuer_name(authority._certificate.subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(NAME)]), True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority._key.public_key()), False)
    )  # fmt: skip
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), False)
    pem = builder.sign(authority._key, SHA256()).public_bytes(Encoding.PEM)
    return IssuedPair(pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), authority.ca)


def test_a_pair_of_a_silo_is_accepted_with_its_facts() -> None:
    own, root = check(SILO)
    assert (own.uri, own.uris, own.names) == (URI, (URI,), (NAME,))
    certificate = x509.load_pem_x509_certificate(SILO.certificate)
    assert own.fingerprint == certificate.fingerprint(SHA256()).hex()
    assert own.serial == f"{certificate.serial_number:x}"
    assert own.issuer == root.subject == "CN=CA of shop"
    assert own.not_before < time.time() < own.not_after
    assert (own.key, own.is_authority, root.is_authority) == ("EC secp256r1", False, True)


def test_clients_and_admins_have_their_roles() -> None:
    assert check(CA.client("web"), roles=("client", "admin"))[0].uri == "spiffe://shop/client/web"
    assert check(CA.admin("ann"), roles=("client", "admin"))[0].uri == "spiffe://shop/admin/ann"
    with pytest.raises(ConfigurationError, match=r"tls\.crt names a silo .*is used as admin or client"):
        check(SILO, roles=("client", "admin"))
    with pytest.raises(ConfigurationError, match=r"tls\.crt names a client"):
        check(CA.client("web"))


def test_a_chain_over_other_authorities_is_followed() -> None:
    below = CertificateAuthority("shop", parent=CertificateAuthority("shop", parent=CA))
    assert [each.subject for each in check(below.silo())] == [
        "CN=shop/silo", "CN=CA of shop\\, below\\, below", "CN=CA of shop\\, below", "CN=CA of shop",
    ]  # fmt: skip
    pair = below.silo()
    alone = pair.certificate.partition(b"-----END CERTIFICATE-----")
    with pytest.raises(ConfigurationError, match=r"issued by CN=CA of shop.*below, and that file has CN=CA of shop"):
        check(replaced(pair, b"".join(alone[:2])))


def test_one_of_several_authorities_is_enough() -> None:
    assert check(SILO, ca=OTHER.bundle(CA))
    with pytest.raises(ConfigurationError, match=r"tls\.crt is not signed by an authority in ca\.crt.*another key"):
        check(SILO, ca=OTHER.ca)


def test_a_certificate_that_is_no_authority_signs_nothing() -> None:
    certificate = x509.load_pem_x509_certificate(SILO.certificate)
    key = load_pem_private_key(SILO.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    false = Authority(certificate, key, x509.load_pem_x509_certificate(CA.ca), (certificate,))
    pair = false.issue([URI], [NAME], Validity.of(CA._now(), timedelta(hours=1)))
    with pytest.raises(ConfigurationError, match=r"not signed by an authority in ca\.crt"):
        check(pair)
    with pytest.raises(ConfigurationError, match=r"not signed by an authority in ca\.crt"):
        check(pair, ca=SILO.certificate)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (CA.issue([], [NAME]), "has no URI in its subject alternative names, and needs one"),
        (CA.issue([URI, "spiffe://shop/client/web"], [NAME]), "has 2 URIs"),
        (CA.issue(["https://shop/silo"], [NAME]), "is no name of the form spiffe://"),
        (CA.issue(["spiffe://shop/robot"], [NAME]), "names no role"),
        (
            CA.issue(["spiffe://depot/silo"], ["silo.depot.grange"]),
            "belongs to the cluster 'depot'.*this one is 'shop'",
        ),
        (CA.issue([URI], ["shop"]), f"has not the DNS name '{NAME}'"),
        (CA.issue([URI]), f"has not the DNS name '{NAME}'"),
        (replaced(SILO, b""), "holds no certificate in PEM"),
        (replaced(SILO, b"\x30\x82" + bytes(100)), "holds no certificate in PEM"),
        (replaced(SILO, SILO.certificate[:300]), "holds a certificate in part"),
        (replaced(SILO, SILO.certificate + CA.ca[:200]), "holds a certificate in part"),
        (replaced(SILO, SILO.certificate.replace(b"M", b"N")), "holds a certificate that cannot be read"),
        (replaced(SILO, SILO.certificate * (MOST_CERTIFICATES + 1)), "more than|larger than"),
        (replaced(SILO, bytes(LARGEST_PEM + 1)), f"larger than {LARGEST_PEM} bytes"),
    ],
)
def test_a_wrong_certificate_is_refused_by_name(pair: IssuedPair, words: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"(?s)^tls\.crt:? .*({words})"):
        check(pair)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (OTHER.silo().key, "holds the key of another certificate"),
        (b"", "holds no private key"),
        (SILO.key[:-60], "holds no private key"),
        (SILO.certificate, "holds no private key"),
        (bytes(LARGEST_PEM + 1), "larger than"),
        (
            load_pem_private_key(SILO.key, None).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
            ),
            "holds an encrypted key",
        ),
        (
            load_pem_private_key(SILO.key, None).private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")
            ),
            "holds an encrypted key",
        ),
    ],
)
def test_a_wrong_key_is_refused_by_name_and_never_shown(key: bytes, words: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^tls\.key .*{words}") as refused:
        check(SILO, key=key)
    assert not any(line in str(refused.value) for line in key.decode("latin-1").splitlines() if len(line) > 20)


@pytest.mark.parametrize("ca", [b"nothing", CA.ca[:-40], SILO.key])
def test_a_wrong_bundle_is_refused_by_name(ca: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"^ca\.crt holds"):
        check(SILO, ca=ca)


def test_a_pair_is_refused_before_and_after_its_time() -> None:
    now = time.time()
    with pytest.raises(ConfigurationError, match=r"^tls\.crt: the certificate of spiffe://shop/silo has expired at 20"):
        check(SILO, now=now + 86_400)
    with pytest.raises(ConfigurationError, match=r"is not valid before 20.*check the clock"):
        check(SILO, now=now - 3600)
    short = CertificateAuthority("shop", valid=timedelta(hours=1))
    with pytest.raises(ConfigurationError, match=r"still valid: CN=CA of shop has expired at"):
        check(short.silo(), now=now + 7200)
    below = CertificateAuthority("shop", valid=timedelta(hours=1), parent=CA)
    with pytest.raises(ConfigurationError, match=r"certificate of CN=CA of shop.*below has expired"):
        check(below.silo(), now=now + 7200)


def test_a_certificate_for_other_uses_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    assert check(signed_by_hand(key))
    assert check(signed_by_hand(key, [client, server]))
    assert check(signed_by_hand(key, [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]))
    with pytest.raises(ConfigurationError, match=r"^tls\.crt may not be used for clientAuth"):
        check(signed_by_hand(key, [server]))
    with pytest.raises(ConfigurationError, match=r"^tls\.crt may not be used for serverAuth"):
        check(signed_by_hand(key, [client]))
    of_client = signed_by_hand(key, [client], uri="spiffe://shop/client/web")
    assert check(of_client, roles=("client",))


def test_other_keys_are_accepted_if_tls_takes_them() -> None:
    assert check(signed_by_hand(rsa.generate_private_key(65537, 2048)))[0].key == "RSA 2048"
    assert check(signed_by_hand(ec.generate_private_key(ec.SECP384R1())))[0].key == "EC secp384r1"
    for key, kind in (
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (ec.generate_private_key(ec.SECP521R1()), "EC secp521r1"),
        (rsa.generate_private_key(65537, 1024), "RSA 1024"),
    ):
        with pytest.raises(ConfigurationError, match=rf"^tls\.crt has a key of the kind {kind}, which TLS of gRPC"):
            check(signed_by_hand(key))


def test_a_secret_is_never_shown() -> None:
    assert b"PRIVATE" in SILO.key
    assert "PRIVATE" not in repr(SILO) + repr(PemFiles(SILO.certificate, SILO.key, SILO.ca))


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_noise_is_refused_and_nothing_else(noise: bytes) -> None:
    """S5: what is no certificate is refused with an error of the tree, for all bytes."""
    for pem in (noise, b"-----BEGIN CERTIFICATE-----\n" + noise + b"\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ConfigurationError):
            describe_pem(pem, "tls.crt")
        with pytest.raises(ConfigurationError):
            check(SILO, key=noise)
        with pytest.raises(ConfigurationError):
            peer_certificate(noise)


@given(st.data())
def test_a_changed_certificate_is_read_or_refused(data: st.DataObject) -> None:
    """Each byte of the DER may be another one: the outcome is facts or an error of the tree."""
    der = bytearray(x509.load_pem_x509_certificate(SILO.certificate).public_bytes(Encoding.DER))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = f"the certificate of the peer {peer_certificate(bytes(der)).uri}"
    except ConfigurationError as error:
        found = str(error)
    assert found.startswith("the certificate of the peer")


def test_a_peer_is_read_from_both_forms() -> None:
    der = x509.load_pem_x509_certificate(SILO.certificate).public_bytes(Encoding.DER)
    assert peer_certificate(SILO.certificate) == peer_certificate(der)
    with pytest.raises(ConfigurationError, match="has no URI"):
        peer_certificate(CA.issue([], ["a.example"]).certificate)


def test_a_process_without_cryptography_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str):
        raise ModuleNotFoundError(name="cryptography.x509")

    monkeypatch.setattr("grange.security.pair.import_module", absent)
    with pytest.raises(ConfigurationError, match="pip install"):
        with_cryptography("x509")
