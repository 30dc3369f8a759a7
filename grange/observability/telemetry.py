"""`Telemetry`: whether a silo or client traces its calls, and where the spans and figures go. Open it first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol, cast

import msgspec

from grange.errors import ConfigurationError

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""The variable that names the OTLP receiver; the others of OpenTelemetry are read by its SDK."""


class SpanExporter(Protocol):
    """An exporter of the OpenTelemetry SDK (`opentelemetry.sdk.trace.export.SpanExporter`)."""

    def export(self, spans: Sequence[Any]) -> Any:
        """Send these spans. Called in a thread."""
        ...

    def shutdown(self) -> None:
        """End."""
        ...


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """Traces the calls of a silo or client: `Silo(telemetry=Telemetry(sample=0.01))`. Without it, no call is traced.

    Raises ConfigurationError for a wrong option, and, when the silo or client starts, if an exporter is wanted and
    `grange[otel]` is not installed.
    """

    sample: float = 0.01
    """Share (0 to 1) of the traces that begin here whose spans are recorded. A call that comes in a trace follows the
    decision of its root."""

    grain_keys: bool = False
    """Record the keys of grains in spans. They may be personal data, so they are left out by default."""

    exporter: SpanExporter | None = None
    """Takes the spans. None: the OTLP receiver that `OTEL_EXPORTER_OTLP_ENDPOINT` names, if it is set."""

    set_global_provider: bool = False
    """Have the application's own spans exported too: set the global tracer provider of OpenTelemetry, unless one is
    set. `grange run` does; a library must not."""

    def __post_init__(self) -> None:
        sample = cast("object", self.sample)
        if isinstance(sample, bool) or not isinstance(sample, int | float) or not 0 <= sample <= 1:
            raise ConfigurationError(f"telemetry option sample must be a share from 0 to 1, not {self.sample!r:.100}")
        for name in ("grain_keys", "set_global_provider"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"telemetry option {name} must be true or false")
        if self.exporter is not None and not callable(getattr(self.exporter, "export", None)):
            raise ConfigurationError(f"telemetry option exporter must be a span exporter, not {self.exporter!r:.100}")


def can_export() -> bool:
    """Whether the extra `otel` is installed."""
    return find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None


def telemetry_of(variables: Mapping[str, str]) -> Telemetry | None:
    """The telemetry that the standard variables of OpenTelemetry ask for; None: none. For `grange run`.

    A sampler without a receiver traces for the dashboard only. Without `OTEL_TRACES_SAMPLER_ARG` a hundredth of the
    traces is sampled. Raises ConfigurationError for a sampler that grange does not have.
    """
    asked = any(map(variables.get, (ENDPOINT, "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG")))
    if not asked or variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    sampler = variables.get("OTEL_TRACES_SAMPLER", "parentbased_traceidratio").lower()
    share = {"always_on": "1", "always_off": "0"}.get(
        sampler.removeprefix("parentbased_"), variables.get("OTEL_TRACES_SAMPLER_ARG", "0.01")
    )
    if sampler.removeprefix("parentbased_") not in ("always_on", "always_off", "traceidratio"):
        raise ConfigurationError(
            f"OTEL_TRACES_SAMPLER={sampler!r:.100}: grange has parentbased_traceidratio, _always_on, _always_off"
        )
    try:
        return Telemetry(sample=float(share), set_global_provider=bool(variables.get(ENDPOINT)))
    except (ValueError, ConfigurationError):
        raise ConfigurationError(f"OTEL_TRACES_SAMPLER_ARG must be a share from 0 to 1, not {share!r:.100}") from None


def as_telemetry(telemetry: object) -> Telemetry | None:
    """The argument `telemetry=` of `Silo` and `Client`. Raises ConfigurationError for anything else."""
    if telemetry is not None and not isinstance(telemetry, Telemetry):
        raise ConfigurationError(f"telemetry= is a grange.observability.Telemetry, not {telemetry!r:.100}")
    return telemetry


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """The process that the spans and figures are of: the cluster, its service, the name of the silo or client."""

    service: str
    cluster: str
    name: str
    facts: Mapping[str, str] = {}
