"""`runbell new` writes a location that works."""

from pathlib import Path

import pytest
import yaml

from integrations.errors import InvalidInput, Misconfigured
from orchestration.scaffold import WITHOUT_PYTHON, create
from tests.checking import complaints, name, project

__all__ = ["name", "project"]


def test_a_new_location_is_well(project: Path, name: str) -> None:
    written = create(name, project / "workspace.yaml")

    assert complaints(project) == []
    assert {path.name for path in written} == {
        "README.md", "__init__.py", "definitions.py", "test_workflow.py", "workflow.py", "workspace.yaml",
    }  # fmt: skip


def test_a_new_location_without_python_is_well(project: Path, name: str) -> None:
    written = create(name, project / "workspace.yaml", templates=WITHOUT_PYTHON)

    assert complaints(project) == []
    assert {path.name for path in written} == {
        "README.md", "__init__.py", "definitions.py", "test_flows.py", f"{name}.yaml", "workspace.yaml",
    }  # fmt: skip


def test_what_stood_in_workspace_yaml_stays(project: Path, name: str) -> None:
    create(name, project / "workspace.yaml")
    create(f"{name}_b", project / "workspace.yaml")

    text = (project / "workspace.yaml").read_text()
    entries = yaml.safe_load(text)["load_from"]
    assert text.startswith("# mine\n")
    assert [entry["python_module"]["location_name"] for entry in entries] == [name, f"{name}_b"]


@pytest.mark.parametrize("bad", ["", "Demo", "a-b", "1a", "../x", "class", "json", "a" * 51, "钟"])
def test_a_name_that_can_not_be_used_is_refused_and_nothing_is_written(project: Path, bad: str) -> None:
    before = sorted(project.rglob("*"))

    with pytest.raises(InvalidInput):
        create(bad, project / "workspace.yaml")

    assert sorted(project.rglob("*")) == before


def test_the_name_of_another_location_is_refused(project: Path) -> None:
    before = "load_from:\n  - python_module: {module_name: a.b, location_name: core}\n"
    (project / "workspace.yaml").write_text(before)

    with pytest.raises(InvalidInput, match="has a code location core already"):
        create("core", project / "workspace.yaml")

    assert (project / "workspace.yaml").read_text() == before
    assert not (project / "core").exists()


def test_a_taken_folder_or_an_odd_workspace_is_left_as_it_is(project: Path, name: str) -> None:
    (project / name).mkdir()
    with pytest.raises(InvalidInput, match="is there already"):
        create(name, project / "workspace.yaml")
    for text in ("load_from: []\n", "load_from:\nother: 1\n", "- a\n", "a: [\n"):
        (project / "workspace.yaml").write_text(text)
        with pytest.raises(Misconfigured):
            create(f"{name}_b", project / "workspace.yaml")
        assert (project / "workspace.yaml").read_text() == text
        assert not (project / f"{name}_b").exists()
