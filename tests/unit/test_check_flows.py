"""`runbell check` points at what does not work in workflows in YAML."""

from pathlib import Path

import pytest

from integrations.settings import Dagster, Settings
from orchestration.scaffold import WITHOUT_PYTHON, create
from orchestration.warm.actor import root_cause
from orchestration.warm.internals import DagsterUserCodeLoadError
from orchestration.warm.location import load_location
from tests.checking import complaints, forget, name, project

__all__ = ["name", "project"]


def test_what_is_wrong_in_yaml_is_told_with_its_file_and_line(project: Path, name: str) -> None:
    create(name, project / "workspace.yaml", templates=WITHOUT_PYTHON)
    file = project / name / "flows" / f"{name}.yaml"
    text = file.read_text()
    file.write_text(text.replace("send_message:", "send_mesage:"))
    assert [(one.place, one.level) for one in complaints(project)] == [(f"{name}/flows/{name}.yaml:19", "error")]
    forget(name)

    query = "\n  look:\n    sql_query: {database: shop, statement: select 1}\n"
    file.write_text(text.replace("\n\nreply", query + "\nreply").replace("effect:", "allowed: fans\neffect:"))

    found = {one.place: one.text for one in complaints(project)}
    assert "There is no database 'shop'" in found[f"{name}/flows/{name}.yaml:23"]
    assert "nobody has the role fans" in found[f"{name}/flows/{name}.yaml:3"]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("step", "line", "said"),
    [
        ("send_message: {text: 'Hi {{ args.name }}'}", 7, "the step look does more than read: it will be refused"),
        ("http_request: {url: '{{ args.name }}', method: POST}", 7, "it will be refused; say effect: write"),
        ("http_request: {url: 'https://a.example/{{ args.name }}', credential: shop}", 15, "no credential 'shop'"),
        ("sql_query: {database: shop, statement: 'select :a', parameters: {a: '{{ args.name }}'}}", 15, "no database"),
        ("run_script: {script: gone.sh, arguments: ['{{ args.name }}']}", 15, "There is no script 'gone.sh'"),
        (
            "approval: {approvers: [manager], question: 'Well?'}",
            15,
            "nobody has the role manager, so nobody can approve",
        ),
    ],
)
def test_what_a_run_would_certainly_be_refused_is_an_error(
    project: Path, name: str, step: str, line: int, said: str
) -> None:
    create(name, project / "workspace.yaml", templates=WITHOUT_PYTHON)
    file = project / name / "flows" / f"{name}.yaml"
    head, _, _ = file.read_text().replace("effect: write", "effect: read").partition("  pause:")
    file.write_text(f"{head}  look:\n    {step}\nreply: Done.\n")

    (found,) = complaints(project)

    assert (found.place, found.level) == (f"{name}/flows/{name}.yaml:{line}", "error")
    assert said in found.text


def test_a_file_that_is_no_yaml_hides_nothing_of_the_others(project: Path, name: str) -> None:
    create(name, project / "workspace.yaml", templates=WITHOUT_PYTHON)
    flows = project / name / "flows"
    (flows / "broken.yaml").write_text("command: other\n\treply: x\n")
    (flows / "empty.yaml").write_text("")
    doubtful = flows / f"{name}.yaml"
    doubtful.write_text(doubtful.read_text().replace("effect: write", "effect: read"))

    found = {one.place: one.text for one in complaints(project)}

    assert "no YAML" in found[f"{name}/flows/broken.yaml:2"]
    assert "the file is empty" in found[f"{name}/flows/empty.yaml:1"]
    assert "the step" in found[f"{name}/flows/{name}.yaml:7"]
    assert len(found) == 3


def test_a_worker_that_can_not_load_a_file_says_which_and_where(project: Path, name: str) -> None:
    create(name, project / "workspace.yaml", templates=WITHOUT_PYTHON)
    (project / name / "flows" / "broken.yaml").write_text("command: other\n\treply: x\n")

    with pytest.raises(DagsterUserCodeLoadError) as wrong:
        load_location(Settings(dagster=Dagster(workspace=project / "workspace.yaml")), name)

    assert root_cause(wrong.value).startswith(f"{project / name}/flows/broken.yaml, line 2: no YAML")
