"""Which gateways a command asks: those that are named, else those of the membership table, else the one here."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from grange.cli.commands import main
from grange.cli.exit_codes import ExitCode
from grange.cli.remote import MOST_GATEWAYS, Gateways, remote_cluster
from grange.errors import ConfigurationError, MembershipUnavailable
from grange.membership.model.member import Member, SiloStatus
from grange.membership.urls import open_table
from grange.proto.ids import SiloAddress

OF_FILES = {"certificate": "tls.crt", "key": "tls.key", "ca": "ca.crt"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def member(host: str, gateway: int, status: SiloStatus = SiloStatus.ACTIVE, age: float = 0) -> Member:
    address = SiloAddress(host, 11111, gateway + 1)
    return Member(address, status, NOW, NOW - timedelta(seconds=age), gateway=gateway)


async def fill(url: str, *members: Member, cluster: str = "default") -> None:
    async with open_table(url, cluster) as table:
        for each in members:
            assert await table.insert(each, (await table.read()).version)


async def found(
    *gateways: str, membership: str | None = None, here: bool = False, cluster: str | None = None
) -> Gateways:
    return await remote_cluster(gateways, membership, here, cluster=cluster, connect_timeout=2.0, is_quiet=True).find()


async def test_the_table_of_the_embedded_default_names_the_gateways() -> None:
    Path(".grange").mkdir()
    await fill(
        "sqlite:///.grange/cluster.db",
        member("10.0.0.1", 30001, age=9),
        member("::1", 30002),
        member("10.0.0.3", 30003, SiloStatus.DEAD),
        member("10.0.0.4", 30004, SiloStatus.JOINING),
        member("10.0.0.5", 0),
    )
    gateways = await found()
    assert gateways.places == ("[::1]:30002", "10.0.0.1:30001")
    assert gateways.origin == "found in the membership table sqlite:///.grange/cluster.db"


async def test_the_silos_that_wrote_last_are_asked_first() -> None:
    """Rows of silos that were killed long ago must not take the time."""
    await fill("sqlite:///t.db", *(member("10.0.0.1", 30000 + age, age=age) for age in range(9)))
    gateways = await found(membership="sqlite:///t.db")
    assert gateways.places == tuple(f"10.0.0.1:{30000 + age}" for age in range(MOST_GATEWAYS))


async def test_each_cluster_has_its_own_rows() -> None:
    await fill("sqlite:///t.db", member("10.0.0.1", 30001), cluster="orange")
    assert (await found(membership="sqlite:///t.db", cluster="orange")).places == ("10.0.0.1:30001",)
    assert (await found(membership="sqlite:///t.db")).places == ("127.0.0.1:30000",)


@pytest.mark.parametrize("source", ["environment", "file"])
async def test_the_table_of_the_configuration_names_the_gateways(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill("sqlite:///shared.db", member("10.0.0.1", 30001))
    if source == "environment":
        monkeypatch.setenv("GRANGE_MEMBERSHIP", "sqlite:///shared.db")
    else:
        Path("grange.toml").write_text('membership = "sqlite:///shared.db"\n')
    assert (await found()).places == ("10.0.0.1:30001",)


async def test_a_question_creates_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRANGE_GATEWAY_PORT", "30007")
    gateways = await found()
    assert gateways.places == ("127.0.0.1:30007",)
    assert gateways.origin == "because the membership table sqlite:///.grange/cluster.db lists no active silo"
    assert list(Path().iterdir()) == []


async def test_named_gateways_and_the_silo_here_need_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRANGE_MEMBERSHIP", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("GRANGE_HOST", "::1")
    assert await found("a:1", "b:2") == Gateways(("a:1", "b:2"))
    assert await found(here=True) == Gateways(("[::1]:30000",))
    with pytest.raises(MembershipUnavailable, match="name a gateway by --gateway"):
        await found()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_a_silo_that_listens_everywhere_is_asked_on_loopback(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRANGE_HOST", host)
    assert await found(here=True) == Gateways(("127.0.0.1:30000",))


async def test_a_damaged_embedded_table_leaves_the_silo_here() -> None:
    Path(".grange").mkdir()
    Path(".grange/cluster.db").write_text("this is not a database" * 100)
    gateways = await found()
    assert gateways.places == ("127.0.0.1:30000",)
    assert "cannot be read" in gateways.origin


async def test_a_table_in_memory_is_of_one_process() -> None:
    assert (await found(membership="memory://")).places == ("127.0.0.1:30000",)


async def test_a_malformed_url_names_its_option() -> None:
    with pytest.raises(ConfigurationError, match="option 'membership': not a membership URL"):
        await found(membership="nonsense")


def grange(*words: str) -> tuple[int, list[str]]:
    result = CliRunner().invoke(main, list(words))
    return result.exit_code, result.stderr.splitlines()


def test_a_command_says_which_gateways_it_asks() -> None:
    code, (asked, error) = grange("silos", "--connect-timeout", "0.1")
    assert code == 1
    assert asked == (
        "asking 127.0.0.1:30000, because the membership table sqlite:///.grange/cluster.db lists no active silo"
    )
    reason = "the membership table sqlite:///.grange/cluster.db lists no active silo, and no gateway could be reached: "
    assert error.startswith(f"error: {reason}")
    code, (line,) = grange("silos", "--connect-timeout", "0.1", "--json")
    error = json.loads(line)["error"]
    assert (code, error["type"]) == (1, "SiloUnavailable")
    assert error["message"].startswith(reason)
    assert len(grange("silos", "--connect-timeout", "0.1", "--gateway", "127.0.0.1:1")[1]) == 1


def test_an_option_of_the_command_line_is_named_as_it_is_written() -> None:
    assert grange("silos", "--membership", "nonsense")[1][0].startswith("error: option 'membership' (--membership): ")
    assert grange("silos", "--cluster", " ")[1] == [
        "error: option 'cluster' (--cluster): needs a name, not a blank text: "
        "every silo and client of the cluster gives the same one"
    ]


@pytest.mark.parametrize("command", [["silos"], ["status"], ["grains"], ["drain", "a:1"]])
def test_an_error_is_an_object_for_programs(command: list[str]) -> None:
    code, (line,) = grange(*command, "--json", "--cluster", " ")
    assert code == 2
    assert json.loads(line) == {
        "error": {
            "type": "OptionError",
            "message": "option 'cluster' (--cluster): needs a name, not a blank text: "
            "every silo and client of the cluster gives the same one",
        }
    }


def test_one_way_to_name_a_cluster_is_enough() -> None:
    code, lines = grange("silos", "--here", "--gateway", "a:1")
    assert code == 2
    assert lines[-1] == "Error: --gateway, --membership and --here exclude one another"


@pytest.mark.parametrize("value", ["inf", "nan", "-1", "0", "1e300", "soon"])
@pytest.mark.parametrize("option", ["--timeout", "--connect-timeout"])
def test_a_time_is_a_finite_number_of_seconds(option: str, value: str) -> None:
    code, lines = grange("call", "cart/ann", "add", option, value)
    assert code == 2
    assert f"Invalid value for '{option}'" in lines[-1]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--tls-certificate", "a.crt"), "--tls-certificate and --tls-key belong together"),
        (("--tls-key", "a.key"), "--tls-certificate and --tls-key belong together"),
        (("--tls-ca", "ca.crt"), "give --tls-certificate, --tls-key, too"),
        (("--tls-certificate", "a.crt", "--tls-key", "a.key"), "give --tls-ca, too"),
    ],
)
def test_a_part_of_the_files_of_tls_names_the_rest(flags: tuple[str, ...], words: str) -> None:
    answer = CliRunner().invoke(main, ["status", "--here", *flags])
    assert answer.exit_code == ExitCode.USAGE
    assert words in answer.output


def test_the_certificate_of_the_silo_here_is_refused_with_the_way_to_another() -> None:
    CliRunner().invoke(main, ["certs", "dev", "--cluster", "shop"])
    files = "".join(f'{name} = "certs/silo/{file}"\n' for name, file in OF_FILES.items())
    Path("grange.toml").write_text(f'cluster = "shop"\n[tls]\n{files}')
    answer = CliRunner().invoke(main, ["status", "--here"])
    assert answer.exit_code == ExitCode.USAGE
    assert "certs/silo/tls.crt names a silo" in answer.output
    assert "a command that of an admin by --tls-certificate and --tls-key" in answer.output
