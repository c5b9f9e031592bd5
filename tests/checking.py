"""A folder with a workspace.yaml in which tests write code locations, and what `runbell check` says of it."""

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from integrations.settings import Dagster, Settings
from orchestration.terminal.checking import Complaint, check


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A name that no other test imports."""
    monkeypatch.setenv("RUNBELL_DATABASE__URL", "postgresql://nobody@127.0.0.1:1/none")
    path = list(sys.path)
    name = f"demo_{uuid.uuid4().hex[:8]}"
    yield name
    sys.path[:] = path
    forget(name)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "workspace.yaml").write_text("# mine\nload_from: []\n".replace(" []", ""))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaints(project: Path) -> list[Complaint]:
    return check(Settings(dagster=Dagster(workspace=project / "workspace.yaml")))


def forget(name: str) -> None:
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]
