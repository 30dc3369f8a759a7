"""The options of TLS: what is missing, out of range or without effect is an error that names it."""

from __future__ import annotations

import pytest

from grange.errors import ConfigurationError
from grange.option_ranges import OutOfRange
from grange.security.options import OF_SILOS, PORTS, TlsOptions

FILES = {"certificate": "tls.crt", "key": "tls.key", "ca": "ca.crt"}


def test_without_files_there_is_no_tls() -> None:
    assert not TlsOptions().is_given
    assert TlsOptions(**FILES).is_given


@pytest.mark.parametrize("missing", FILES)
def test_all_three_files_are_needed(missing: str) -> None:
    with pytest.raises(ConfigurationError, match=f"tls option {missing} is missing"):
        TlsOptions(**{name: path for name, path in FILES.items() if name != missing})


@pytest.mark.parametrize("options", [{"mode": "both"}, {"revoked": "r"}, {"check_every": 5.0}, {"port": 4}])
def test_an_option_without_the_files_is_an_error(options: dict) -> None:
    with pytest.raises(ConfigurationError, match="tls option certificate is missing"):
        TlsOptions(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "optional"}, {"mode": ""}, {"check_every": 0.0}, {"check_every": float("nan")}, {"port": -1},
        {"gateway_port": 65536}, {"probe_port": True}, {"reauthenticate_after": -1.0}, {"speaks_for": ("web",)},
        {"speaks_for": ("spiffe://shop/silo",)},
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_name(options: dict) -> None:
    with pytest.raises(OutOfRange, match=f"tls option {next(iter(options))}"):
        TlsOptions(**FILES, **options)


def test_a_client_refuses_the_options_of_silos() -> None:
    TlsOptions(**FILES, revoked="revoked.txt", check_every=3.0).check_for_client()
    others = {**dict.fromkeys(PORTS, 4000), "mode": "both", "reauthenticate_after": 60.0}
    others["speaks_for"] = ("spiffe://shop/client/web",)
    assert others.keys() == set(OF_SILOS)
    for name, value in others.items():
        with pytest.raises(ConfigurationError, match=f"tls option {name} is an option of silos"):
            TlsOptions(**FILES, **{name: value}).check_for_client()
    with pytest.raises(ConfigurationError, match="tls option certificate is missing"):
        TlsOptions().check_for_client()
