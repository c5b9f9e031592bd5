"""The benchmarks can still be started: nothing that they import, at their top or later on, has moved."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CONNECTED = {"orchestration.definitions"}
"""Modules that connect to a platform when they are imported."""
PROGRAMS = sorted(BENCHMARKS.glob("**/*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_every_name_that_a_benchmark_imports_is_there(program: Path) -> None:
    imports = [node for node in ast.walk(ast.parse(program.read_text())) if isinstance(node, ast.ImportFrom)]
    wanted = [(node.module, name.name) for node in imports if node.module and not node.level for name in node.names]

    missing = [f"{module}.{name}" for module, name in wanted if not _is_there(module, name)]

    assert wanted
    assert missing == []


def _is_there(module: str, name: str) -> bool:
    if module in CONNECTED:
        return importlib.util.find_spec(module) is not None
    if hasattr(importlib.import_module(module), name):
        return True
    return importlib.util.find_spec(f"{module}.{name}") is not None
