"""Sizes of files and functions: 400 lines of a file are a question, 600 a failure."""

from __future__ import annotations

import ast
import statistics

from tests.architecture.sources import PACKAGE, ROOT, nodes, python_files, shown

FILE_LIMIT = 600
FILE_QUESTION = 400
FILE_MEDIAN = 200
FUNCTION_LIMIT = 40

LONG_FILES_WITH_A_REASON: frozenset[str] = frozenset()
"""Files of the package over 400 lines that have a reason for their length."""


def _lines(path) -> int:
    return len(path.read_text().splitlines())


def test_no_file_is_longer_than_600_lines() -> None:
    files = [path for folder in ("grange", "tests", "benchmarks", "examples") for path in python_files(ROOT / folder)]
    assert {shown(path): _lines(path) for path in files if _lines(path) > FILE_LIMIT} == {}


def test_a_file_over_400_lines_is_listed_here() -> None:
    long = {shown(path) for path in python_files(PACKAGE) if _lines(path) > FILE_QUESTION}
    assert long == LONG_FILES_WITH_A_REASON


def test_half_of_the_files_have_at_most_200_lines() -> None:
    assert statistics.median(_lines(path) for path in python_files(PACKAGE)) <= FILE_MEDIAN


def test_no_function_of_the_package_is_longer_than_40_lines() -> None:
    long = {
        f"{place} {node.name}": length
        for place, node in nodes(PACKAGE, ast.FunctionDef, ast.AsyncFunctionDef)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LIMIT
    }
    assert long == {}
