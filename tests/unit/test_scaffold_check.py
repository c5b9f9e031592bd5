"""`runbell new` writes a location that works; `runbell check` points at what does not."""

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from integrations.errors import InvalidInput, Misconfigured
from integrations.settings import Dagster, Settings
from orchestration.scaffold import WITHOUT_PYTHON, create
from orchestration.terminal.checking import Complaint, check
from orchestration.terminal.reports import show_complaints
from orchestration.warm.actor import root_cause
from orchestration.warm.internals import DagsterUserCodeLoadError
from orchestration.warm.location import load_location


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A name that no other test imports."""
    monkeypatch.setenv("RUNBELL_DATABASE__URL", "postgresql://nobody@127.0.0.1:1/none")
    path = list(sys.path)
    name = f"demo_{uuid.uuid4().hex[:8]}"
    yield name
    sys.path[:] = path
    _forget(name)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "workspace.yaml").write_text("# mine\nload_from: []\n".replace(" []", ""))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaints(project: Path) -> list[Complaint]:
    return check(Settings(dagster=Dagster(workspace=project / "workspace.yaml")))


def test_a_new_location_is_well(project: Path, name: str) -> None:
    written = create(name, project / "workspace.yaml")

    assert complaints(project) == []
    assert {path.name for path in written} == {
        "README.md", "__init__.py", "definitions.py", "test_workflow.py", "workflow.py", "workspace.yaml",
    }  # fmt: skip


def test_a_check_tells_which_location_it_loads(project: Path, name: str) -> None:
    create(name, project / "workspace.yaml")
    told: list[str] = []

    check(Settings(dagster=Dagster(workspace=project / "workspace.yaml")), told.append)

    assert f"Loading the code location {name} (1 of 1)" in told


def test_a_variable_that_nothing_reads_is_a_warning_of_the_check(
    project: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(name, project / "workspace.yaml")
    monkeypatch.setenv("RUNBELL_NONSENSE", "1")

    assert [(found.place, found.level) for found in complaints(project)] == [("environment", "warning")]


def test_a_new_location_without_python_is_well(project: Path, name: str) -> None:
    written = create(name, project / "workspace.yaml", templates=WITHOUT_PYTHON)

    assert complaints(project) == []
    assert {path.name for path in written} == {
        "README.md", "__init__.py", "definitions.py", "test_flows.py", f"{name}.yaml", "workspace.yaml",
    }  # fmt: skip


def test_what_is_wrong_in_yaml_is_told_with_its_file_and_line(project: Path, name: str) -> None:
    create(name, project / "workspace.yaml", templates=WITHOUT_PYTHON)
    file = project / name / "flows" / f"{name}.yaml"
    text = file.read_text()
    file.write_text(text.replace("send_message:", "send_mesage:"))
    assert [(one.place, one.level) for one in complaints(project)] == [(f"{name}/flows/{name}.yaml:19", "error")]
    _forget(name)

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


def _forget(name: str) -> None:
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


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


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def compose(", "def compose(:", "workflow.py:17: error: SyntaxError"),
        ("import dagster as dg", "import dagster as dg\nimport nothing_there", "workflow.py:4: error: ModuleNotFound"),
        ('name="everybody"', 'name="x", times=99', "workflow.py:44: error: ValidationError: 1 validation error"),
        (
            "@dg.job\n",
            '@dg.job(metadata={"runbell/rest": "name"})\n',
            "runbell/rest means nothing; say it with @command",
        ),
        ("    examples=", '    aliases="help",\n    examples=', "the name help belongs to a control"),
        (
            "    examples=",
            '    effect="writes",\n    examples=',
            "ValueError: @command: effect: it must be read, write",
        ),
        (
            "    examples=",
            '    max_age="10 bananas",\n    late="sometimes",\n    examples=',
            "max_age: '10 bananas': an unknown unit; a length of time is written 90s, 2h or 3 days; late: it must be",
        ),
        (
            "    times: int",
            "    size: complex\n    times: int",
            "can be a: Python primitive type; int, float, bool, str",
        ),
        ("    examples=", '    aliases="a b",\n    examples=', "ValueError: @command: the alias 'a b' can't be typed"),
        (
            "    examples=",
            '    concurrency_key="{who}",\n    examples=',
            "concurrency_key names 'who', which is no argument",
        ),
        ('    execution_timezone="UTC",\n', "", "has no execution_timezone"),
        ('{"compose": Greeting(name="everybody")}', '{"compose": {"config": {"times": 1}}}', "every_morning: Error"),
        ("    examples=", '    rest="times",\n    examples=', "error: {name} is no command: rest names"),
        (
            "    times: int",
            '    at: str = Field(default="at 25", json_schema_extra={"format": "date-time"})\n    times: int',
            "error: {name}: the default of at is not a day and time",
        ),
        ("    examples=", '    allowed="fans",\n    examples=', "nobody has the role fans (setting access.roles)"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(project: Path, name: str, old: str, new: str, said: str) -> None:
    create(name, project / "workspace.yaml")
    file = project / name / "workflow.py"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))

    found = complaints(project)

    assert len(found) == 1, found
    assert said.replace("{name}", name) in f"{found[0].place}: {found[0].level}: {found[0].text}"
    assert found[0].place.startswith(f"{name}/workflow.py:")


def test_one_error_is_counted_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    show_complaints(
        [Complaint("a.py:1", "x"), Complaint("a.py:2", "y", "warning"), Complaint("a.py:3", "z", "warning")]
    )

    assert capsys.readouterr().out.endswith("\n1 error, 2 warnings\n")


def test_events_without_their_source_are_told_with_the_line(project: Path, name: str) -> None:
    create(name, project / "workspace.yaml")
    workflow = project / name / "workflow.py"
    declared = (
        "\n\nfrom orchestration.events import files, on_event, rows, webhook\n\n\n"
        "@on_event(webhook('shop'), job={job})\ndef posted(event):\n    return {{'name': 'Ada'}}\n\n\n"
        "@on_event(rows('erp', 'orders', watermark='id', key='id'), job={job})\n"
        "def ordered(event):\n    return None\n\n\n"
        "@on_event(files('/srv/*.csv'), job={job})\ndef arrived(event):\n    return None\n"
    )
    workflow.write_text(workflow.read_text() + declared.format(job=name))
    definitions = project / name / "definitions.py"
    definitions.write_text(
        definitions.read_text() + f"\nfrom {name}.workflow import arrived, ordered, posted\n"
        "defs = dg.Definitions.merge(defs, dg.Definitions(sensors=[arrived, ordered, posted]))\n"
    )
    lines = workflow.read_text().splitlines()

    found = {complaint.place: complaint.text for complaint in complaints(project)}

    hook, table = (lines.index(f"@on_event({start}, job={name})") + 1 for start in (
        "webhook('shop')", "rows('erp', 'orders', watermark='id', key='id')"
    ))  # fmt: skip
    assert "set events = true in [channels.webhook.shop]" in found[f"{name}/workflow.py:{hook}"]
    assert "[actions.databases.erp]" in found[f"{name}/workflow.py:{table}"]
    assert len(found) == 2
