"""A mistake in a command line, the environment or `grange.toml` is one line on standard error, with exit code 2."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from grange.cli.commands import main

SHOP = """
from grange import Grain
from grange.silo import Silo

class Cart(Grain, name="cart"):
    async def add(self, sku: str) -> int:
        return 1

silo = Silo(grains=[Cart])
other = Silo(grains=[Cart], port=0)
empty = Silo(grains=[])
number = 7
"""
TWINS = """
from grange import Grain
from grange.silo import Silo

class Cart(Grain, name="cart"):
    async def add(self) -> int:
        return 1

class Basket(Grain, name="cart"):
    async def add(self) -> int:
        return 1

silo = Silo(grains=[Cart, Basket], port=0, gateway_port=0)
"""


@pytest.fixture(autouse=True)
def _folder_of_an_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with modules; the fixture restores the modules, path and logging that a command changed."""
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "unclosed.py").write_text("x = (")
    (tmp_path / "twins.py").write_text(TWINS)
    (tmp_path / "broken.py").write_text("import json\n\nprice = 1 / 0\n")
    (tmp_path / "leaver.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "latin.py").write_bytes(b"name = '\xff'\n")
    (tmp_path / "a_folder_as_file.py").mkdir()
    (tmp_path / "needy.py").write_text("import a_package_that_is_missing\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules, root = set(sys.modules), logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    logging.captureWarnings(False)
    root.setLevel(level)
    root.handlers[:] = handlers


def grange(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def complaint(*words: str) -> str:
    """The one line of the error, without its prefix."""
    result = grange(*words)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shop", "'shop' does not name a silo; write module:variable, such as shop:silo"),
        ("shop.py", "a module is named without .py: shop:silo"),
        ("shop.py:other", "a module is named without .py: shop:other"),
        ("store:silo", "there is no module 'store'; it was looked for in "),
        ("shop.carts:silo", "there is no module 'shop.carts'"),
        ("shop:app", "the module has no such variable; silos in it: shop:silo, shop:other, shop:empty"),
        ("shop:number", "the module has a int there, not a grange.silo.Silo"),
        ("needy:silo", "the module 'needy' needs 'a_package_that_is_missing', which is not installed"),
        ("broken:silo", "the module 'broken' cannot be imported: ZeroDivisionError: division by zero ("),
        ("..shop:silo", "'..shop:silo' does not name a silo"),
        ("shop/carts:silo", "'shop/carts:silo' does not name a silo"),
        ("shop:a b", "'shop:a b' does not name a silo"),
        ("leaver:silo", "the module 'leaver' cannot be imported: SystemExit: 3 ("),
        ("latin:silo", "the module 'latin' cannot be imported: SyntaxError"),
        ("a_folder_as_file:silo", "there is no module 'a_folder_as_file'"),
        ("shop:empty", "a silo needs at least one grain class"),
        ("twins:silo", "twins.Cart and twins.Basket are both named 'cart'; give one another name="),
    ],
)
def test_a_mistake_in_the_silo_is_named(name: str, words: str) -> None:
    assert words in complaint("run", name)


def test_a_url_in_place_of_a_silo_shows_no_password() -> None:
    for command in ("doctor", "run", "dev"):
        said = complaint(command, "postgresql://ann:t0psecret@db/shop")
        assert said.startswith("'postgresql://db/shop' is a URL, not a silo; write module:variable")


def test_the_place_in_a_broken_module_is_named() -> None:
    assert "broken.py:3)" in complaint("run", "broken:silo")
    assert complaint("run", "unclosed:silo").endswith("SyntaxError: '(' was never closed (unclosed.py, line 1)")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "70000"], "option 'port' (--port): must be a whole number from 0 to 65535, not 70000"),
        (["--host", "0.0.0.0"], "option 'host' (--host): '0.0.0.0' is a wildcard"),
        (["--host", "192.0.2.1"], "set the option insecure (--insecure)"),
        (["--cluster", " "], "option 'cluster' (--cluster): needs a name"),
    ],
)
def test_a_bad_option_is_named(options: list[str], words: str) -> None:
    assert words in complaint("run", "shop:silo", *options)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("GRANGE_PORT", "many", "option 'port' (GRANGE_PORT): "),
        ("GRANGE_LABELS", "not json", "the environment variable GRANGE_LABELS must be JSON"),
        (
            "GRANGE_RUNTIME__IDLE_TIMOUT",
            "5",
            "unknown option 'runtime.idle_timout' (GRANGE_RUNTIME__IDLE_TIMOUT): did you mean 'idle_timeout'?",
        ),
        ("GRANGE_RUNTIME__IDLE_TIMEOUT", "soon", "option 'runtime.idle_timeout' (GRANGE_RUNTIME__IDLE_TIMEOUT): "),
        ("GRANGE_MEMBERSHIP_OPTIONS__VOTES", "0", "membership option votes must be a whole number above 0"),
        ("GRANGE_MEMBRESHIP", "redis://cache", "GRANGE_MEMBRESHIP is no option; did you mean GRANGE_MEMBERSHIP?"),
        ("GRANGE_STORAGE_FILE", "/nowhere/secret", "GRANGE_STORAGE_FILE names '/nowhere/secret'"),
    ],
)
def test_a_bad_variable_is_named(variable: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    assert words in complaint("run", "shop:silo")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 5\n", "unknown option 'prot' (grange.toml): did you mean 'port'?"),
        ("port = 'many'\n", "option 'port' (grange.toml): "),
        ("[directory]\nask_timeout = -1\n", "directory option ask_timeout"),
        ("port = \n", "grange.toml"),
    ],
)
def test_a_bad_file_is_named(text: str, words: str) -> None:
    Path("grange.toml").write_text(text)
    assert words in complaint("run", "shop:silo")


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (("call", "cart", "add"), "'cart' does not name a grain; write TYPE/KEY in one word"),
        (("call", "cart/", "add"), "'cart/' does not name a grain"),
        (("call", "cart/ann", "add", "apple"), "a text needs quotes of its own: '\"apple\"'"),
        (("call", "cart/ann", "add", '["apple"'), "close each bracket and quote"),
        (("call", "cart/ann", "add", '{"sku": "ap'), "close each bracket and quote"),
        (("call", "cart/ann", "add", '"apple'), "close each bracket and quote"),
        (("call", "cart/ann", "add", "{'sku': 1}"), "JSON has double quotes"),
        (("call", "cart/ann", "add", "[" * 5000 + "]" * 5000), "nested too deeply"),
        (("call", "cart/ann", "add", "NaN"), "the arguments are not JSON"),
        (("call", "cart/ann", "add", "1e400"), "a number has at most the range of a 64-bit float"),
        (("call", "cart/\udcff", "add"), r"the grain 'cart/\udcff' is not UTF-8, so it cannot be sent"),
        (("call", "cart/ann", "add", '"\udcff"'), "is not UTF-8, so it cannot be sent"),
        (("call", "cart/ann", "add()"), "'add()' does not name a method"),
        (("call", "cart/ann", "\udcff"), "does not name a method"),
        (("call", "cart/ann", "add", "5", "--gateway", "http://127.0.0.1:1"), "a gateway has no scheme and no path"),
        (("call", "cart/ann", "add", "-5", "--gateway", "::1:30000"), "not a gateway: '::1:30000'; write host:port"),
        (("status", "--gateway", "localhost"), "not a gateway: 'localhost'; write host:port"),
    ],
)
def test_a_malformed_question_is_refused_before_it_is_sent(words: tuple[str, ...], mistake: str) -> None:
    assert mistake in complaint(*words)


@pytest.mark.parametrize("words", [("run",), ("fly",), ("call", "cart/ann"), ("dev", "--silos", "0")])
def test_a_wrong_command_line_shows_the_usage(words: tuple[str, ...]) -> None:
    result = grange(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


def test_debug_shows_where_an_error_comes_from() -> None:
    result = grange("--debug", "run", "broken:silo")
    assert result.exit_code == 2
    assert "ZeroDivisionError" in result.stderr
    assert 'broken.py", line 3' in result.stderr


def test_an_unexpected_error_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the ink is out")

    monkeypatch.setattr("grange.silo.silo.Silo.definition", fail)
    result = grange("run", "shop:silo")
    assert result.exit_code == 70
    assert result.stderr.splitlines() == [
        "error: RuntimeError: the ink is out; this is unexpected: `grange --debug ...` shows where it comes from"
    ]


@pytest.mark.parametrize(
    "words", [("--parked", "--within", "5"), ("cart/ann", "--within", "5"), ("cart/ann", "--parked")]
)
def test_an_option_that_a_list_of_reminders_would_ignore_is_refused(words: tuple[str, ...]) -> None:
    result = grange("reminders", *words)
    assert result.exit_code == 2
    assert f"{words[-1] if words[-1] != '5' else '--within'} has no effect" in result.stderr


@pytest.mark.parametrize(
    "words",
    [("activation", "cart", "ann"), ("state", "cart", "ann"), ("move", "cart", "ann"), ("deactivate", "cart", "ann"),
     ("call", "cart", "ann", "add"), ("reminders", "cart", "ann")],
)  # fmt: skip
def test_a_grain_is_one_word_in_every_command(words: tuple[str, ...]) -> None:
    result = grange(*words)
    assert result.exit_code == 2
    assert "write TYPE/KEY in one word, such as cart/ann" in result.stderr


def test_a_type_is_not_a_grain() -> None:
    result = grange("grains", "cart/ann")
    assert result.exit_code == 2
    assert "write the type alone; the key goes into an option: cart --prefix ann" in result.stderr
