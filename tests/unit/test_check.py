"""`runbell check` points at what does not work, or is perhaps not meant."""

from pathlib import Path

import pytest

from integrations.settings import Dagster, Settings
from integrations.settings_access import Access
from orchestration.scaffold import create
from orchestration.terminal.checking import Complaint, check
from orchestration.terminal.reports import show_complaints
from tests.checking import complaints, forget, name, project

__all__ = ["name", "project"]


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


@pytest.mark.parametrize(
    ("before", "said", "level"),
    [
        ('allowed=["fans"],', "nobody has the role fans (setting access.roles)", "warning"),
        (
            'allowed=["slak:U1"],',
            "slak:U1 is nobody's account: there is no network slak; did you mean slack:U1?",
            "warning",
        ),
        ('approval=Approval(approvers="boss"),', "nobody has the role boss (setting access.roles), so nobody", "error"),
        ('approval=Approval(approvers=["boss", "slack:U1"]),', "nobody has the role boss", "warning"),
        ('approval=Approval(approvers="boss"), rest="times",', "so nobody can approve", "error"),
    ],
)
def test_whom_a_command_names_in_vain_is_told(project: Path, name: str, before: str, said: str, level: str) -> None:
    create(name, project / "workspace.yaml")
    file = project / name / "workflow.py"
    text = file.read_text().replace("authoring import command", "authoring import Approval, command")
    file.write_text(text.replace("    examples=", f"    {before}\n    examples=", 1))

    found = complaints(project)

    assert said in found[0].text
    assert found[0].level == level


def test_an_account_of_a_network_that_there_is_not_is_told_by_its_setting(project: Path, name: str) -> None:
    create(name, project / "workspace.yaml")
    roles = {"finance": ["slak:U1", "slack:U2", "email:ada@example.com", "group:eu", "principal:p1"]}
    access = Access.model_validate({"roles": roles, "groups": {"eu": ["wecom-robot:7"]}})

    (found,) = check(Settings(dagster=Dagster(workspace=project / "workspace.yaml"), access=access))

    assert (found.place, found.level) == ("access.roles.finance", "warning")
    assert "there is no network slak; did you mean slack:U1?" in found.text


def test_a_name_that_two_locations_claim_is_an_error_of_both(project: Path, name: str) -> None:
    other = f"{name}_b"
    for location in (name, other):
        create(location, project / "workspace.yaml")
        file = project / location / "workflow.py"
        file.write_text(file.read_text().replace("@command(", '@command(\n    "refund",', 1))

    found = {one.place: (one.level, one.text) for one in complaints(project)}
    forget(other)

    assert set(found) == {f"{location}/workflow.py:35" for location in (name, other)}
    level, text = found[f"{name}/workflow.py:35"]
    assert level == "error"
    assert f"the name refund is also claimed by /refund of {other} ({other}/workflow.py:35)" in text


@pytest.mark.parametrize(
    "schedule",
    [
        'nightly = dg.ScheduleDefinition(name="nightly", job={job}, cron_schedule="0 1 * * *")',
        'nightly = dg.ScheduleDefinition(job={job}, cron_schedule="0 1 * * *")',
        '@dg.schedule(job={job}, cron_schedule="0 1 * * *")\ndef nightly(context): return {{}}',
        'late = "nightly"\n@dg.schedule(name=late, job={job}, cron_schedule="0 1 * * *")\ndef nightly(_): return {{}}',
    ],
)
def test_what_is_wrong_with_a_schedule_is_told_with_the_schedules_line(project: Path, name: str, schedule: str) -> None:
    create(name, project / "workspace.yaml")
    file = project / name / "workflow.py"
    file.write_text(file.read_text() + f"\n\n{schedule.format(job=name)}\n")
    definitions = project / name / "definitions.py"
    definitions.write_text(
        definitions.read_text() + f"\nfrom {name}.workflow import nightly\n"
        "defs = dg.Definitions.merge(defs, dg.Definitions(schedules=[nightly]))\n"
    )
    line = len(file.read_text().splitlines())

    found = complaints(project)

    assert {one.place for one in found} == {f"{name}/workflow.py:{line}"}
    assert "it has no execution_timezone" in found[0].text


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
