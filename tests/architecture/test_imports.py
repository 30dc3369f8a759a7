"""Rules for every file of the package, beyond the contracts in `.importlinter`."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import PACKAGE, ROOT, nodes, python_files, shown, syntax_tree

MUTABLE_CALLS = {
    "dict",
    "list",
    "set",
    "defaultdict",
    "deque",
    "OrderedDict",
    "WeakKeyDictionary",
    "WeakValueDictionary",
}
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
READ_ONLY = ("Mapping", "Sequence", "Final", "AbstractSet")
LATE = {
    "grange/cli/changed_files.py import watchfiles",
    "grange/local_records.py import fcntl",
    "grange/silo/admin.py from grange.silo.admin_server import serve",
}
"""Imports inside functions: of a heavy library that most silos and commands do without, and of a module that Windows
does not have. Never to dodge a cycle."""

DANGEROUS = {"eval", "exec", "compile", "__import__"}


def test_no_import_exists_only_for_type_checkers() -> None:
    found = [place for place, node in nodes(PACKAGE, ast.Name) if node.id == "TYPE_CHECKING"]
    found += [place for place, node in nodes(PACKAGE, ast.Attribute) if node.attr == "TYPE_CHECKING"]
    assert found == []


def test_every_import_stands_at_the_top_of_its_file() -> None:
    inside = {
        f"{place.partition(':')[0]} {ast.unparse(found)}"
        for place, function in nodes(PACKAGE, ast.FunctionDef, ast.AsyncFunctionDef)
        for found in ast.walk(function)
        if isinstance(found, (ast.Import, ast.ImportFrom))
    }
    assert inside == LATE


def test_no_module_keeps_mutable_state() -> None:
    found = [place for place, _ in nodes(PACKAGE, ast.Global)]
    for path in python_files(PACKAGE):
        for statement in syntax_tree(path).body:
            if isinstance(statement, (ast.Assign, ast.AnnAssign)) and _is_mutable_state(statement):
                found.append(f"{shown(path)}:{statement.lineno} {ast.unparse(statement)}")
    assert found == []


def test_no_code_is_evaluated() -> None:
    called = [
        f"{place} {node.func.id}"
        for place, node in nodes(PACKAGE, ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id in DANGEROUS
    ]
    assert called == []


def test_no_error_is_silently_ignored() -> None:
    """`except Exception: pass` hides defects; `suppress` with a named error states the expected error."""
    silent = [
        place
        for place, handler in nodes(PACKAGE, ast.ExceptHandler)
        if _catches_everything(handler.type) and all(isinstance(step, ast.Pass) for step in handler.body)
    ]
    assert silent == []


def test_the_layer_contracts_fail_when_broken(tmp_path: Path) -> None:
    """One violation of each kind in a copy of the package; the tool must name every contract."""
    shutil.copytree(PACKAGE, tmp_path / "grange", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    _append(tmp_path, "utils/__init__.py", '"""An undeclared room."""')
    _append(tmp_path, "clock.py", "import grange")
    _append(tmp_path, "runtime/options.py", "from grange.grains import Grain")
    _append(
        tmp_path,
        "membership/model/member.py",
        "import grange.membership.agent\nimport asyncio\nimport aiosqlite\nimport redis\nimport asyncpg\nimport hvac",
    )
    _append(
        tmp_path, "membership/model/votes.py", "import grpc\nimport click\nimport opentelemetry\nimport cryptography"
    )
    _append(tmp_path, "runtime/gate.py", "import grange.runtime.calls.caller")
    _append(tmp_path, "directory/options.py", "import grange.directory.cluster")
    _append(tmp_path, "storage/options.py", "import grange.storage.states.facet")
    _append(tmp_path, "storage/states/codec.py", "import grange.storage.states.state")
    _append(tmp_path, "storage/stores/changes.py", "import grange.storage.stores.sqlite")
    _append(tmp_path, "membership/model/hash_ring.py", "import grange.storage.memory")
    _append(
        tmp_path,
        "storage/memory.py",
        "import grange.membership.model.hash_ring\nimport pickle\nimport grange.proto._generated",
    )
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert " 0 kept, 21 broken" in " ".join(result.stdout.split()), result.stdout


def _append(root: Path, name: str, code: str) -> None:
    path = root / "grange" / name
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(f"\n{code}\n")


def _is_mutable_state(statement: ast.Assign | ast.AnnAssign) -> bool:
    """A table of constants is filled where it is written; a container that starts empty is mutable state."""
    if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.annotation).startswith(READ_ONLY):
        return False
    value = statement.value
    if isinstance(value, ast.Dict):
        return not value.keys
    if isinstance(value, ast.List):
        return not value.elts
    if isinstance(value, ast.Call):
        name = value.func.id if isinstance(value.func, ast.Name) else getattr(value.func, "attr", "")
        return name in MUTABLE_CALLS and not value.args and not value.keywords
    return False


def _catches_everything(kind: ast.expr | None) -> bool:
    return kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})
