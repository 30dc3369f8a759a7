"""`grange run` and the standard variables of OpenTelemetry."""

from __future__ import annotations

import logging

import pytest

from grange.cli import run_command
from grange.observability import Telemetry
from grange.observability.telemetry import ENDPOINT


def test_a_receiver_in_the_environment_switches_telemetry_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4317")
    assert run_command._telemetry() == Telemetry(sample=0.01, set_global_provider=True)  # pyright: ignore[reportPrivateUsage]


def test_without_a_receiver_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ENDPOINT, "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"):
        monkeypatch.delenv(name, raising=False)
    assert run_command._telemetry() is None  # pyright: ignore[reportPrivateUsage]


def test_a_sampler_without_a_receiver_traces_for_the_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1")
    monkeypatch.setattr(run_command, "can_export", lambda: False)
    assert run_command._telemetry() == Telemetry(sample=1.0)  # pyright: ignore[reportPrivateUsage]


def test_a_receiver_without_the_packages_fails_no_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4317")
    monkeypatch.setattr(run_command, "can_export", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert run_command._telemetry() is None  # pyright: ignore[reportPrivateUsage]
    (record,) = caplog.records
    assert vars(record)["event"] == "telemetry_not_installed"
