"""`grange run`: one silo in this process, with options of the command line."""

from __future__ import annotations

import functools
import gc
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from grange.admin_token import read_admin_token
from grange.cli.completion import complete_silo_variable
from grange.cli.exit_codes import ExitCode, OutputLost
from grange.cli.garbage import settle
from grange.cli.logs import LEVELS, write_logs
from grange.cli.naming import naming_options
from grange.cli.process import StopSignals, run
from grange.cli.silo_import import imported_files, named_silo
from grange.cli.streams import json_text, write
from grange.observability.telemetry import ENDPOINT, Telemetry, can_export, telemetry_of
from grange.printable import printable
from grange.security.known import KnownSecrets
from grange.silo.config import SiloConfig
from grange.silo.silo import Silo

log = logging.getLogger("grange.silo")


@click.command("run")
@click.argument("app", metavar="MODULE:SILO", shell_complete=complete_silo_variable)
@click.option("--host", help="Address to listen on (default: 127.0.0.1).")
@click.option("--advertise", help="Host by which others reach this silo, if not --host.")
@click.option("--port", type=int, help="Port for other silos (default: 11111; 0: a free one).")
@click.option("--gateway-port", type=int, help="Port for clients (default: 30000; 0: a free one).")
@click.option("--probe-port", type=int, help="Port that answers probes of other silos (default: a free one).")
@click.option("--road", type=click.Choice(["grpc", "tcp"]), help="tcp: plain sockets beside gRPC (default: grpc).")
@click.option("--road-port", type=int, help="With --road tcp: port for other silos (default: a free one).")
@click.option("--gateway-road-port", type=int, help="With --road tcp: port for clients (default: a free one).")
@click.option(
    "--http", metavar="PORT|off", help="Port of probes and /metrics (default: 8080; 0: a free one; off: none)."
)
@click.option("--http-host", help="Address on which --http listens, if not --host.")
@click.option("--cluster", help="Name of the cluster.")
@click.option("--service", help="Name of the application in storage.")
@click.option("--membership", metavar="URL", help="Membership table (default: SQLite in the data folder).")
@click.option("--storage", metavar="URL", help="Default storage (default: SQLite in the data folder).")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the embedded databases (default: .grange).")
@click.option("--name", help="Name of this silo for people (default: host and port).")
@click.option("--insecure", is_flag=True, default=None, help="Allow a public address without TLS and authentication.")
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
@click.option("--log-json/--log-text", help="Format of the log on standard error.", default=False)
@click.option("--json", "as_json", is_flag=True, help="Show as JSON where the silo listens.")
@click.option("--stop-with-stdin", is_flag=True, hidden=True, help="Also stop when standard input ends.")
@click.option("--start-with-stdin", is_flag=True, hidden=True, help="Import the silo, then wait for a line.")
def run_command(app: str, log_level: str, log_json: bool, as_json: bool, **options: Any) -> None:
    """Run one silo until SIGTERM or SIGINT, which drain it; a second signal ends it at once.

    Options win over the environment (GRANGE_...), which wins over grange.toml.
    """
    stop_with_stdin, start_with_stdin = options.pop("stop_with_stdin"), options.pop("start_with_stdin")
    overrides = {name: value for name, value in options.items() if value is not None}
    with StopSignals() as signals, naming_options(overrides):
        thresholds = gc.get_threshold()
        silo = named_silo(app)
        if start_with_stdin:
            _wait_for_line()
        if stop_with_stdin:
            signals.stop_with_stdin()
        config = silo.definition(**overrides).config
        fields: dict[str, str | int] = {"cluster": config.cluster, "silo": config.name}
        known = KnownSecrets()
        write_logs(log_level, log_json, fields, known)
        settle(thresholds)
        run(
            silo,
            {**overrides, "telemetry": _telemetry(), "known_secrets": known},
            signals,
            functools.partial(_announce, config, as_json, fields),
        )


def _wait_for_line() -> None:
    """Tell that the silo is imported, from which files, and wait until `grange dev` lets it begin."""
    write(json_text(msgspec.json.encode({"event": "imported", "files": imported_files()})))
    if not os.read(0, 1):
        raise SystemExit(ExitCode.CLEAN)


def _telemetry() -> Telemetry | None:
    """The telemetry that the environment asks for. It may be set for all programs here, so it fails no start."""
    telemetry = telemetry_of(os.environ)
    if telemetry is not None and os.environ.get(ENDPOINT) and not can_export():
        log.warning(
            "%s is set, but OpenTelemetry is not installed (the extra 'otel' of grange): nothing is exported", ENDPOINT,
            extra={"event": "telemetry_not_installed"},
        )  # fmt: skip
        return None
    return telemetry


def _announce(config: SiloConfig, as_json: bool, fields: dict[str, str | int], silo: Silo) -> None:
    fields |= {"silo": silo.name, "generation": silo.address.generation}  # from here on in every log line
    facts = {
        "event": "active",
        "address": str(silo.address),
        "gateway": silo.gateway,
        "road": config.road,
        "http": silo.http,
        "cluster": config.cluster,
        "name": silo.name,
        "pid": os.getpid(),
    }
    text = (
        f"silo {silo.address} of cluster {config.cluster!r} is active: "
        f"silos reach it at {silo.address.endpoint}, clients at {silo.gateway} (by {config.road})"
        + (f", its dashboard is {_dashboard(config, silo.http)}" if silo.http else "")
    )
    try:
        write(json_text(msgspec.json.encode(facts)) if as_json else printable(text))
    except OutputLost as error:  # the silo serves; only the announcement is lost
        log.warning("silo %s is active, but this cannot be told: %s", silo.address, error)


def _dashboard(config: SiloConfig, place: str) -> str:
    """The URL of the dashboard; on a terminal with the token that opens it. Elsewhere it would be kept in a log."""
    scheme = "https" if config.tls and config.tls_options().mode == "required" else "http"
    url = f"{scheme}://{place}/"
    if not (sys.stdout is not None and sys.stdout.isatty()):
        return url
    token = config.admin_token or config.operator_token or config.viewer_token or read_admin_token(config.data)
    return f"{url}#token={token}" if token else url
