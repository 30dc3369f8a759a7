"""S5: no code of grange unpickles, evaluates, imports by a computed name or starts a program, except where listed.

The rule is for the whole package, so that no new file of the wire path can be missed. An exception names its file, what
it does there, and why no byte of a peer reaches it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.architecture.sources import PACKAGE, nodes

NEVER = frozenset({
    "_pickle", "cloudpickle", "code", "codeop", "ctypes", "dill", "joblib", "jsonpickle", "marshal", "pickle",
    "pickletools", "pkgutil", "pty", "runpy", "shelve", "xml", "xmlrpc", "yaml",
})  # fmt: skip
"""Modules that build objects or run code from bytes: no file imports them."""

EVALUATES = frozenset({"eval", "exec", "compile", "__import__"})
IMPORTS = frozenset({"EntryPoint", "entry_points", "import_module", "module_from_spec", "spec_from_file_location"})
"""Names of importlib that lead to code by a name. `version`, `files` and `find_spec` do not."""

STARTS = frozenset({"Popen", "create_subprocess_exec", "create_subprocess_shell", "execv", "execve", "popen", "system"})
HINTS = frozenset({"get_type_hints", "eval_str"})

ALLOWED = {
    ("cli/commands.py", "imports"): "the file of a subcommand, from a table in this file",
    ("cli/dashboard_command.py", "imports"): "a module of grange, by a literal",
    ("cli/remote.py", "imports"): "a module of grange, by a literal",
    ("cli/silo_import.py", "imports"): "MODULE:SILO of the operator's command line",
    ("databases/providers.py", "imports"): "the entry point that an installed package has for the scheme of a URL",
    ("security/secrets.py", "imports"): "the entry point that an installed package has for a source of secrets",
    ("grains/generics.py", "hints"): "annotations of classes that the process imported",
    ("grains/options.py", "hints"): "annotations of a class of grange",
    ("grains/registry.py", "imports"): "the core of svcs, by a literal",
    ("observability/tracing.py", "imports"): "a module of grange, by a literal",
    ("security/pair.py", "imports"): "a module of this room, by a literal",
    ("silo/admin_server.py", "imports"): "the entry points of installed packages for pages",
    ("storage/states/layout.py", "hints"): "annotations of classes that the process imported",
    ("cli/dev.py", "starts"): "the command that the user of `grange dev` gave with `--with`",
    ("testing/simulation/campaign.py", "starts"): "further processes of the simulation, by `sys.executable`",
    ("servers/process.py", "starts"): "Redis and Postgres of tests and `grange dev`, found on the machine",
}
"""(file, kind) of each exception, with its reason."""


def kinds_in(node: ast.AST) -> Iterator[str]:
    """What one syntax node does that needs a reason."""
    if isinstance(node, ast.Call):
        yield from _of_call(node)
    if isinstance(node, ast.Import):
        yield from _of_modules({alias.name: frozenset({"import_module"}) for alias in node.names})
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from _of_modules({node.module: frozenset(alias.name for alias in node.names)})


def _of_modules(names: dict[str, frozenset[str]]) -> Iterator[str]:
    for module, taken in names.items():
        if module.split(".")[0] in NEVER:
            yield "unsafe module"
        if module.split(".")[0] == "importlib" and taken & IMPORTS:
            yield "imports"


def _of_call(call: ast.Call) -> Iterator[str]:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if isinstance(function, ast.Name) and name in EVALUATES:
        yield "evaluates"
    if name in STARTS or ast.unparse(function).startswith("subprocess."):
        yield "starts"
    if name in HINTS or any(keyword.arg in HINTS for keyword in call.keywords):
        yield "hints"
    if any(keyword.arg == "shell" for keyword in call.keywords):
        yield "shell"


def found() -> dict[tuple[str, str], list[str]]:
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for place, node in nodes(PACKAGE, ast.Call, ast.Import, ast.ImportFrom):
        for kind in kinds_in(node):
            places[place.removeprefix("grange/").rpartition(":")[0], kind].append(place)
    return places


def test_only_listed_files_evaluate_import_or_start_anything() -> None:
    unlisted = [f"{key[1]}: {place}" for key, places in found().items() if key not in ALLOWED for place in places]
    assert unlisted == []


def test_the_list_has_no_exception_that_is_gone() -> None:
    assert ALLOWED.keys() - found().keys() == set()


def test_the_rooms_that_decode_frames_have_no_exception() -> None:
    """Bytes of a peer pass through these rooms; `storage` and `reminders` decode bytes of a store."""
    rooms = ("aio/", "directory/", "membership/", "proto/", "reminders/", "runtime/", "transport/")
    assert [key for key in ALLOWED if key[0].startswith(rooms)] == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("import pickle", "unsafe module"),
        ("from yaml import load", "unsafe module"),
        ("import xml.etree.ElementTree as trees", "unsafe module"),
        ("eval(text)", "evaluates"),
        ("__import__(name)", "evaluates"),
        ("import importlib", "imports"),
        ("from importlib import import_module", "imports"),
        ("from importlib.metadata import entry_points, version", "imports"),
        ("subprocess.run(words)", "starts"),
        ("os.system(words)", "starts"),
        ("run(words, shell=True)", "shell"),
        ("inspect.get_annotations(cls, eval_str=True)", "hints"),
    ],
)
def test_each_kind_is_recognised(code: str, kind: str) -> None:
    assert kind in [each for node in ast.walk(ast.parse(code)) for each in kinds_in(node)]


def test_a_method_of_ours_is_not_the_builtin() -> None:
    fine = "pattern.compile(x)\nself.eval(x)\nfrom importlib.metadata import version"
    assert [each for node in ast.walk(ast.parse(fine)) for each in kinds_in(node)] == []
