"""Workflows in YAML: what a file may say, what is wrong is told with its line, and nothing in it is evaluated."""

import json
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from jsonschema import Draft202012Validator

from integrations.errors import InvalidInput, Misconfigured
from orchestration.commands.catalogue import compile_job
from orchestration.commands.spec import CommandSpec
from orchestration.flows import Flow, Unsound, load_flows
from orchestration.flows.conditions import holds
from orchestration.flows.form import Step
from orchestration.flows.references import fill, pieces, read_path
from orchestration.flows.schema import schema

ROOT = Path(__file__).parents[2]
REFUND = """\
command: refund
aliases: [退款]
allowed: [finance]
arguments:
  order: {type: integer, minimum: 1, description: Which order.}
  day: {type: day, optional: true}
  speed: {choices: [slow, fast], default: slow}
  token: {type: secret, optional: true}
steps:
  fetch:
    http_request: {url: "https://shop.example.com/{{ args.order }}"}
  ask:
    when: {steps.fetch.body.total: {above: 100}}
    approval: {approvers: [manager], question: "Refund {{ steps.fetch.body.total }}?"}
  pay:
    needs: [ask]
    http_request:
      url: https://shop.example.com/refunds
      method: POST
reply: Refunded.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "refund.yaml").write_text(REFUND)
    return folder


def command_of(folder: Path, name: str = "refund") -> CommandSpec:
    return compile_job(load_flows(folder).resolve_job_def(name), "shop")


def test_a_file_is_a_command_like_any_other(folder: Path) -> None:
    spec = command_of(folder)

    assert (spec.name, spec.aliases, spec.allowed) == ("refund", ("退款",), ("role:finance",))
    arguments = {argument.name: argument for argument in spec.arguments}
    assert arguments["order"].json_schema == {"type": "integer", "minimum": 1}
    assert [name for name, argument in arguments.items() if argument.required] == ["order"]
    assert arguments["day"].form == "date"
    assert arguments["speed"].options == ["slow", "fast"]
    assert arguments["token"].secret


def test_a_file_is_a_plain_job_with_an_op_for_each_step(folder: Path) -> None:
    job = load_flows(folder).resolve_job_def("refund")

    assert {node.name for node in job.nodes} == {"arguments", "fetch", "ask", "pay", "reply"}
    before = {name: job.graph.dependency_structure.all_upstream_outputs_from_node(name) for name in ("ask", "pay")}
    assert {one.node_name for one in before["ask"]} == {"arguments", "fetch"}
    assert {one.node_name for one in before["pay"]} == {"arguments", "ask"}


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("aliases", "alases", 2, "alases: there is no such key; did you mean aliases?"),
        ("type: integer", "typ: integer", 5, "arguments.order.typ: there is no such key; did you mean type?"),
        (
            "    http_request: {url",
            "    http_requst: {url",
            11,
            "http_requst: there is no such key; did you mean http_",
        ),
        (
            "approvers: [",
            "aprovers: [",
            14,
            "steps.ask.approval.aprovers: there is no such key; did you mean approvers",
        ),
        ("{url: ", "{adress: ", 11, "http_request has no argument adress; "),
        ("/{{ args.order", "/{{ args.ordr", 11, "args.ordr: there is no argument ordr; did you mean order?"),
        ("fetch.body.total }}", "fech.body }}", 14, "there is no step fech; did you mean fetch?"),
        ("needs: [ask]", "needs: [aks]", 16, "there is no step aks; did you mean ask?"),
        ("method: POST", "method: PSOT", 19, "steps.pay.http_request.method: must be one of GET, HEAD"),
        ("method: POST", "headers: 7", 19, "steps.pay.http_request.headers: must be object or string"),
        ("method: POST", 'method: "{{ args.speed }}"', 19, "method is for you to write: nothing may be filled in"),
        ("above: 100", "over: 100", 13, "over: there is no such key; "),
        ("steps.fetch.body.total: {", "fetch.total: {", 13, "'fetch.total' leads nowhere: write args.NAME or steps."),
        (
            "needs: [ask]",
            "needs: [ask]\n    wait: 3 days",
            15,
            "a step does one thing: this one has http_request and wait",
        ),
        (
            "reply: Refunded.",
            'reply: "{{ args.token }}"',
            20,
            "is a secret: it may stand in an action's arguments only",
        ),
        ("reply: Refunded.", "", 1, "reply: this is needed"),
        ("  pay:", "  Pay-it:", 15, "a name has lower-case letters, digits and _"),
        ("  pay:", "  reply:", 9, "steps: reply can't be a name here"),
        ("command: refund", "command: re fund", 1, "can't be typed"),
        ("command: refund", "command: 退钱", 1, "jobs have ASCII names"),
        ("needs: [ask]", "needs: [ask, pay]", 16, "a step can't wait for itself"),
        ("  fetch:\n", "  fetch:\n    needs: [ask]\n", 10, "these steps wait for each other: fetch, ask, pay"),
        ("minimum: 1", "minimum: 1, default: x", 5, "arguments.order: default: a whole number is needed"),
        ("default: slow", "default: sloow", 7, "arguments.speed: default: it must be slow or fast"),
        ("type: day", "type: day, minimum: 3", 6, "arguments.day: minimum is for the types integer, number, amount"),
        ("type: day", "pattern: '('", 6, "arguments.day: pattern: no regular expression"),
        ("steps:\n", "steps:\n  nap: {wait: 3 foos}\n", 10, "'3 foos': an unknown unit"),
        ("steps:\n", "steps:\n  nap: {wait: {until: 2026-12-01}}\n", 10, "an instant must name its time zone"),
        ("steps:\n", "steps:\n  nap: {run_script: {language: sh}}\n", 10, "give either script or code"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(folder: Path, old: str, new: str, line: int, said: str) -> None:
    assert old in REFUND
    (folder / "refund.yaml").write_text(REFUND.replace(old, new, 1))

    with pytest.raises(Misconfigured) as wrong:
        load_flows(folder)

    assert f"refund.yaml, line {line}: " in str(wrong.value)
    assert said in str(wrong.value)


def test_all_that_is_wrong_in_all_files_is_told_at_once(folder: Path) -> None:
    (folder / "refund.yaml").write_text(REFUND.replace("needs: [ask]", "needs: [aks]").replace("PO", "OP"))
    (folder / "again.yaml").write_text(REFUND.replace("aliases", "alases"))

    with pytest.raises(Unsound) as wrong:
        load_flows(folder)

    assert [(place.file.name, place.line) for place in wrong.value.places] == [
        ("again.yaml", 2), ("refund.yaml", 16), ("refund.yaml", 19),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("command: other\n\treply: x\n", 2, "no YAML: found character"),
        ("command: other\nsteps: {}\ncommand: two\n", 3, "command stands twice"),
        ("", 1, "the file is empty: it needs command, steps and reply"),
        ("# later\n\n- a list\n", 3, "the file is no mapping of names to values: it needs command, steps and reply"),
        ("just words", 1, "the file is no mapping of names to values: it needs command, steps and reply"),
    ],
)
def test_what_is_no_workflow_at_all_is_told_once_beside_the_faults_of_other_files(
    folder: Path, text: str, line: int, said: str
) -> None:
    (folder / "broken.yaml").write_text(text)
    (folder / "refund.yaml").write_text(REFUND.replace("aliases", "alases"))

    with pytest.raises(Unsound) as wrong:
        load_flows(folder)

    assert [(place.file.name, place.line) for place in wrong.value.places] == [
        ("broken.yaml", line), ("refund.yaml", 2),
    ]  # fmt: skip
    assert wrong.value.places[0].text.startswith(said)


def test_two_files_can_not_make_the_same_job(folder: Path) -> None:
    (folder / "second.yaml").write_text(REFUND)

    with pytest.raises(Unsound, match=r"second.yaml, line 1: .*has the job refund, too"):
        load_flows(folder)


@pytest.mark.parametrize(
    "text",
    [
        "{{ 1 + 1 }}", "{{ args.order | upper }}", "{{ args['order'] }}", "{{ args.order() }}", "{{ env.HOME }}",
        "{{ args.__class__.__mro__[1] }}", "{{ steps }}", "{{ }}", "{{ args.a }} {{", "{{ dg.job }}", "{{{ args.a }}}",
        "{{ args.a }}{{ config.x }}", "{{ args.a if args.b }}",
    ],
)  # fmt: skip
def test_only_references_may_stand_in_braces(text: str) -> None:
    with pytest.raises(ValueError, match=r"leads nowhere|has no }}"):
        pieces(text)


@pytest.mark.parametrize("text", ["", "plain", "{ args.order }", "}} {x}", '{"a": {"b": {}}}', "{% if x %}", "{# x #}"])
def test_other_braces_are_text(text: str) -> None:
    assert fill(text, lambda _: 1 / 0) == text


def test_what_is_filled_in_is_never_read_as_a_template_again() -> None:
    hostile = "{{ args.token }} {% for x in y %} ${HOME}"

    assert fill("a {{ args.note }}", lambda _: hostile) == f"a {hostile}"
    assert fill({"x": ["{{ args.note }}"]}, lambda _: {"k": hostile}) == {"x": [{"k": hostile}]}


def test_a_reference_alone_gives_the_value_itself_and_in_a_text_its_words() -> None:
    values = {"args.n": 7, "args.f": 7.0, "args.yes": True, "args.none": None, "args.many": [1, "钟"]}

    assert fill("{{ args.many }}", lambda said: values[str(said)]) == [1, "钟"]
    text = "{{args.n}} {{ args.f }} {{ args.yes }} {{ args.none }} {{ args.many }}"
    assert fill(text, lambda said: values[str(said)]) == '7 7 true  [1, "钟"]'


@pytest.mark.parametrize(
    ("when", "value", "fits"),
    [
        ("paid", "paid", True), ("paid", "new", False), (["paid", "new"], "new", True), (7, "7", True), (7, 7.0, True),
        (True, True, True), ("true", True, True), (None, None, True), ({"not": None}, None, False),
        ({"not": ["a", "b"]}, "b", False), ({"not": "a"}, "c", True), ({"above": 7}, 7, False),
        ({"above": 7}, "7.5", True),
        ({"at_least": 7, "below": 8}, 7, True), ({"at_most": 7}, 8, False), ({"is": [7], "above": 8}, 7, False),
    ],
)  # fmt: skip
def test_conditions_compare_and_do_no_more(when: object, value: object, fits: bool) -> None:
    step = Step.model_validate({"when": {"args.a": when}, "wait": "1s"})

    assert holds(step.when, lambda _: value) is fits


def test_what_is_no_number_is_not_compared_as_one() -> None:
    step = Step.model_validate({"when": {"args.a": {"above": 1}}, "wait": "1s"})

    with pytest.raises(InvalidInput, match=r"args\.a is 'many', which is no number"):
        holds(step.when, lambda _: "many")


def test_a_path_is_bounded() -> None:
    with pytest.raises(ValueError, match="leads nowhere"):
        read_path("args" + ".a" * 17)


def test_the_schema_in_the_documentation_is_this_one() -> None:
    assert json.loads((ROOT / "docs/workflow.schema.json").read_text(encoding="utf-8")) == schema()


def test_the_schema_takes_what_the_reader_takes_and_refuses_what_it_refuses() -> None:
    Draft202012Validator.check_schema(schema())
    validator = Draft202012Validator(schema())

    for path in [*ROOT.glob("examples/flows/*.yaml"), *ROOT.glob("orchestration/scaffold/*/flows/*.template")]:
        assert list(validator.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))) == [], path
    assert validator.is_valid(yaml.safe_load(REFUND))
    for old, new in (("aliases", "alases"), ("method: POST", "method: PSOT"), ("type: integer", "type: int")):
        assert not validator.is_valid(yaml.safe_load(REFUND.replace(old, new)))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of Dagster's `dg` with this workflow as a component."""
    place = tmp_path / "shop_by_dg" / "defs" / "refund"
    place.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "shop_by_dg"\n'
    )
    for package in (place.parent.parent, place.parent):
        (package / "__init__.py").write_text("")
    indented = "".join(f"  {line}" for line in REFUND.splitlines(keepends=True))
    (place / "defs.yaml").write_text(f"type: orchestration.flows.Flow\nattributes:\n{indented}")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("shop_by_dg")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def test_it_is_a_component_of_dagster_whose_templates_dagster_leaves_alone(project: Path) -> None:
    job = dg.load_from_defs_folder(path_within_project=project).resolve_job_def("refund")

    assert compile_job(job, "shop").name == "refund"
    assert "fetch" in {node.name for node in job.nodes}


def test_what_is_wrong_in_a_component_is_told_with_its_line(project: Path) -> None:
    file = project / "shop_by_dg" / "defs" / "refund" / "defs.yaml"
    file.write_text(file.read_text().replace("args.order", "args.ordr"))

    with pytest.raises(Exception, match=r"refund\[0\]") as wrong:
        dg.load_from_defs_folder(path_within_project=project)

    causes: list[BaseException | None] = [wrong.value]
    while causes[-1] is not None:
        causes.append(causes[-1].__cause__)
    (unsound,) = (cause for cause in causes if isinstance(cause, Unsound))
    assert str(unsound).startswith(f"{file}, line 13: attributes.steps.fetch.http_request.url: args.ordr")


def test_the_component_says_its_schema_to_dagsters_tools() -> None:
    assert Flow.get_model_cls().model_json_schema()["required"] == ["command", "steps", "reply"]
