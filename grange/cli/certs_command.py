"""`grange certs`: makes certificates for a laptop, shows those in a file, and checks those of a silo or client."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import click
import msgspec

from grange.cli.cluster_wide import Answers, ask_silos, chosen, name_of
from grange.cli.completion import complete_silo_variable
from grange.cli.doctor import config_of
from grange.cli.output import Output, Rows
from grange.cli.remote import RemoteCluster, asks_a_cluster
from grange.cli.streams import write
from grange.cli.tables import duration, table_of
from grange.client.client import Client
from grange.client.questions import Question
from grange.clock import utc_now
from grange.errors import ConfigurationError
from grange.printable import printable
from grange.proto.identity import SpiffeId, parse_spiffe, server_name
from grange.proto.trust import TRUST, Trust
from grange.security.findings import CertificateFinding, Outcome, check_files
from grange.security.material import OF_CLIENT, OF_SILO
from grange.security.options import FILES, TlsOptions
from grange.security.pair import LARGEST_PEM, Described, describe_pem, with_cryptography
from grange.security.rotation import DAY
from grange.text_files import bytes_of, reason_of

COLOURS: Mapping[Outcome, str | None] = {Outcome.OK: None, Outcome.WARN: "yellow", Outcome.BAD: "red"}
JSON = click.option("--json", "as_json", is_flag=True, help="Show the answer as JSON.")


@click.group("certs")
def certs_command() -> None:
    """Make certificates for a laptop, show those in a file, check those of a silo or client, or compare the silos."""


@certs_command.command("dev")
@click.argument("folder", default="certs")
@click.option("--cluster", default="default", show_default=True, help="The cluster that the certificates are for.")
@click.option("--client", "clients", multiple=True, default=("web",), show_default=True, help="Name of a client.")
@click.option("--admin", "admins", multiple=True, default=("dev",), show_default=True, help="Name of an admin.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="Life of all of them.")
@click.option("--force", "there", flag_value="force", help="Replace what is in the folder.")
@click.option("--keep", "there", flag_value="keep", help="Leave what is in the folder, if a silo would accept it.")
@click.option("--discard-key", is_flag=True, help="Do not write the authority's key: it signs nothing more.")
def dev_certs_command(
    folder: str, cluster: str, clients: Sequence[str], admins: Sequence[str], there: str | None, **issue: Any
) -> None:
    """Make an authority in FOLDER (certs), with pairs for silos, clients and admins, to try TLS on a laptop.

    In production, cert-manager or Vault issues them: the key of this authority lies beside the certificates.
    """
    place = Path(folder)
    others = [
        SpiffeId(cluster, role, name) for role, names in (("client", clients), ("admin", admins)) for name in names
    ]
    for each in (SpiffeId(cluster, "silo"), *others):
        _check_name(each)
    authority = with_cryptography("authority")
    try:
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            if there == "keep":
                return _keep(place, cluster)
            if there != "force":
                raise ConfigurationError(
                    f"{folder!r} is there already and not an empty folder; --force replaces its files, --keep leaves "
                    "them"
                )
        _issue(authority, place, cluster, others, **issue)
    except OSError as error:
        raise ConfigurationError(f"the certificates cannot be written: {error.strerror}: {error.filename}") from error
    for line in _advice(place, cluster, others, has_key=not issue["discard_key"]):
        write(printable(line))


def _keep(place: Path, cluster: str) -> None:
    """Say that nothing is written. Raises ConfigurationError if a silo would refuse what is there."""
    findings = check_files(TlsOptions.of_folder(place / "silo"), cluster, OF_SILO, utc_now().timestamp())
    for each in findings:
        if each.outcome is Outcome.BAD:
            raise ConfigurationError(f"{str(place)!r} cannot be kept: {each.found}; --force replaces its files")
    write(printable(f"{place} is kept: it has usable certificates of silos of {cluster!r}."))


def _check_name(identity: SpiffeId) -> None:
    text = str(identity)
    try:
        is_right = parse_spiffe(text) == identity and text.isascii() and text.isprintable() and " " not in text
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    if not is_right or identity.name in (".", ".."):
        raise ConfigurationError(f"{text!r} is no name for a certificate: use letters, digits, dots and hyphens")


def _issue(
    authority: ModuleType, place: Path, cluster: str, others: Sequence[SpiffeId], days: int, discard_key: bool
) -> None:
    validity = authority.Validity.of(utc_now(), timedelta(days=days))
    root = authority.Authority.root(f"development CA of {cluster}", validity)
    place.mkdir(parents=True, exist_ok=True)
    if not discard_key:
        authority.write_file(place / "ca.key", root.key, 0o600)
    authority.write_file(place / "ca.crt", root.ca, 0o644)
    silo = SpiffeId(cluster, "silo")
    authority.write_pair(place / "silo", root.issue([str(silo)], [server_name(cluster)], validity))
    for each in others:
        authority.write_pair(place / each.role / each.name, root.issue([str(each)], [], validity))


def _advice(place: Path, cluster: str, others: Sequence[SpiffeId], has_key: bool) -> list[str]:
    folders = {each: place / each.role / each.name for each in others}
    silo = TlsOptions.of_folder(place / "silo")
    admins = [TlsOptions.of_folder(folder) for each, folder in folders.items() if each.role == "admin"]
    clients = [str(folder) for each, folder in folders.items() if each.role == "client"]
    return [
        f"{place} has an authority for the cluster {cluster!r}, and pairs in "
        f"{', '.join(map(str, (place / 'silo', *folders.values())))}.",
        "In grange.toml of the silos:",
        f"  cluster = {_quoted(cluster)}",
        "  [tls]",
        *(f"  {name} = {_quoted(getattr(silo, name))}" for name in FILES),
        *(
            f"In clients: Client(..., cluster={_quoted(cluster)}, tls=TlsOptions.of_folder({_quoted(each)}))"
            for each in clients[:1]
        ),
        *(f"In commands: grange status {_flags(each)}" for each in admins[:1]),
        f"{place / 'ca.key'} signs any identity: keep it out of images and repositories."
        if has_key
        else "The key of the authority is gone: it signs nothing more.",
    ]


def _flags(files: TlsOptions) -> str:
    return shlex.join(word for name in FILES for word in (f"--tls-{name}", getattr(files, name)))


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


@certs_command.command("show")
@click.argument("file", type=click.Path())
@JSON
def show_certs_command(file: str, as_json: bool) -> None:
    """Show the certificates in FILE (PEM): identity, names, issuer, fingerprint, and the days until they end."""
    try:
        pem = bytes_of(Path(file), LARGEST_PEM)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no file {file!r}") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file!r} cannot be read: {reason_of(error)}") from None
    now = utc_now().timestamp()
    found = [_facts(each, now) for each in describe_pem(pem, file)]
    Output(as_json).show(found, *(_shown(each) for each in found))


def _facts(certificate: Described, now: float) -> dict[str, Any]:
    """One certificate for programs. The keys are part of the command line's contract."""
    return {
        "subject": certificate.subject,
        "uris": list(certificate.uris),
        "names": list(certificate.names),
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "fingerprint": certificate.fingerprint,
        "not_before": datetime.fromtimestamp(certificate.not_before, UTC).isoformat(),
        "not_after": datetime.fromtimestamp(certificate.not_after, UTC).isoformat(),
        "days": round((certificate.not_after - now) / DAY, 2),
        "key": certificate.key,
        "authority": certificate.is_authority,
    }


def _shown(facts: Mapping[str, Any]) -> Rows:
    rows = Rows("", "")
    rows.show_header = False
    for name, value in facts.items():
        text = ", ".join(cast("list[str]", value)) if isinstance(value, list) else str(value)
        rows.add_texts(name.replace("_", " "), {"True": "yes", "False": "no"}.get(text, text))
    rows.add_texts("", "")
    return rows


@certs_command.command("check")
@click.argument("app", metavar="[MODULE:SILO]", required=False, shell_complete=complete_silo_variable)
@click.option("--folder", help="Check tls.crt, tls.key and ca.crt in this folder, of a silo, client or admin.")
@click.option("--cluster", help="The cluster that they are for (default: that of the silo).")
@click.option("--strict", is_flag=True, help="Fail for warnings, too.")
@JSON
def check_certs_command(app: str | None, folder: str | None, cluster: str | None, strict: bool, as_json: bool) -> None:
    """Check the files of the table [tls] as a start does: key, identity, chain, times, revocations; days left.

    Exit code 1 when a silo would refuse them.
    """
    findings = _findings(app, folder, cluster)
    Output(as_json, fits=False).show(findings, _table(findings))
    outcomes = {each.outcome for each in findings}
    if Outcome.BAD in outcomes or (strict and Outcome.WARN in outcomes):
        raise click.exceptions.Exit(1)


@certs_command.command("silos")
@asks_a_cluster
def silos_certs_command(cluster: RemoteCluster, output: Output) -> None:
    """Show which certificate each silo has, which authorities it trusts, and what its connections show.

    During a change of the authority it tells when each silo is ready for the next step.
    """

    async def question(client: Client) -> Answers[Trust]:
        return await ask_silos(client, chosen(client.view, ""), Question(TRUST, b"", Trust))

    answers = cluster.ask(question)
    now = utc_now().timestamp()
    table = table_of("silo", "", "certificate", "fingerprint", "days", "connections", "oldest")
    rows: list[dict[str, Any]] = []
    for member, trust in answers.given:
        silo = {"silo": name_of(member), "tls": bool(trust.chain), "revoked": trust.revoked, "more": trust.more}
        rows.append(silo | {kind: [*facts] for kind, facts in _trust_facts(trust, now).items()})
        for kind, facts in _trust_facts(trust, now).items():
            for each in facts:
                figures = each.get("connections", ""), duration(each["oldest"]) if "oldest" in each else ""
                found = (each["name"], each["fingerprint"][:16], each["days"], *figures)
                table.add_texts(name_of(member), KINDS[kind], *map(str, found))
    notes = [f"{each['silo']} has no TLS" for each in rows if not each["tls"]]
    output.show({"silos": rows, "problems": answers.problem_facts()}, table, *notes, *answers.notes())


KINDS: Mapping[str, str] = {"chain": "has", "authorities": "trusts", "peers": "sees"}


def _trust_facts(trust: Trust, now: float) -> dict[str, list[dict[str, Any]]]:
    """For programs. The keys are part of the command line's contract."""

    def facts(name: str, fingerprint: str, ends: float) -> dict[str, Any]:
        return {"name": name, "fingerprint": fingerprint, "days": round((ends - now) / DAY, 2)}

    return {
        "chain": [facts(each.name, each.fingerprint, each.ends) for each in trust.chain],
        "authorities": [facts(each.name, each.fingerprint, each.ends) for each in trust.authorities],
        "peers": [
            facts(each.uri, each.fingerprint, each.ends)
            | {"connections": each.connections, "oldest": round(each.oldest, 1), "asked": each.asked}
            for each in trust.peers
        ],
    }


def _findings(app: str | None, folder: str | None, cluster: str | None) -> list[CertificateFinding]:
    now = utc_now().timestamp()
    if folder is not None:
        files = TlsOptions.of_folder(folder)
        return check_files(files, cluster or config_of(app, {}).cluster, _roles(files), now)
    config = config_of(app, {})
    options = config.tls_options()
    if not options.is_given:
        raise ConfigurationError(
            "the silo here has no table [tls]; `grange certs dev` makes one, --folder checks files"
        )
    return check_files(options, cluster or config.cluster, OF_SILO, now)


def _roles(files: TlsOptions) -> tuple[str, ...]:
    """The roles that the certificate may have: by its own identity, because a folder has no role of its own."""
    try:
        own = describe_pem(Path(files.certificate).read_bytes(), files.certificate)[0]
        role = parse_spiffe(own.uri).role
    except (OSError, ValueError):
        return OF_SILO  # the check tells what is wrong
    return OF_SILO if role == "silo" else OF_CLIENT


def _table(findings: Sequence[CertificateFinding]) -> Rows:
    rows = Rows()
    for column in ("check", "", "found"):
        rows.add_column(column, no_wrap=column != "found", overflow="fold")
    for each in findings:
        rows.add_texts(each.check, each.outcome, each.found, style=COLOURS[each.outcome])
    return rows
