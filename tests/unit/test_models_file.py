"""models.yaml: what it may say, where it is wrong, and its short form in runbell.toml."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from integrations.errors import Misconfigured
from orchestration.ops.answering.thinking import LEAST_CONTEXT
from serving.config import Serving
from serving.fleet import Fleet
from serving.models_file import EXAMPLE, parse, read_fleet, schema

ROOT = Path(__file__).parents[2]
GOOD = """\
models:
  small: {engine: llama_cpp, capabilities: [fast], languages: [en]}
  big:
    engine: openai
    model: gpt-x
    base_url: [https://a.example/v1, https://b.example/v1]
    api_key: [env:A, env:B]
    capabilities: [deep]
    replicas: {min: 1, max: 3}
    resources: {gpus: 0.5}
    price: {input: 1.0, output: 4.0}
  minilm-l6-v2: {engine: minilm, capabilities: [embed]}
routes:
  summary: [small, big]
  deep: {candidates: [big], max_price: 0.05}
policy:
  tenants:
    acme: {local_only: true}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "models.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_which_models_there_are_and_how_they_are_reached(tmp_path: Path):
    fleet = parse(write(tmp_path, GOOD))

    routes = fleet.all_routes()
    assert fleet.models["big"].model == "gpt-x"
    assert fleet.models["small"].model == "small"
    assert fleet.models["big"].is_remote
    assert not fleet.models["small"].is_remote
    assert routes["summary"].candidates == ("small", "big")
    assert routes["fast"].candidates == routes["default"].candidates == ("small",)
    assert fleet.embedder == "minilm-l6-v2"


def test_what_stands_in_the_examples_is_what_there_is_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    bare = read_fleet(Serving())
    example = parse(write(tmp_path, EXAMPLE))

    assert set(example.models) == set(bare.models)
    for name, spec in bare.models.items():
        said = example.models[name]
        assert (said.engine, said.model, said.slots, said.context_tokens) == (
            *(spec.engine, spec.model),
            *(spec.slots, spec.context_tokens),
        )
    assert read_fleet(Serving()) == example


def test_the_short_form_names_one_chat_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    serving = Serving(engine="openai", base_url="http://gpu:8000/v1", model="org/My Model", api_key="k", strong=True)

    fleet = read_fleet(serving)

    (name,) = fleet.all_routes()["default"].candidates
    assert name == "org/My-Model"
    assert fleet.models[name].model == "org/My Model"
    assert fleet.models[name].strong
    assert fleet.models[name].timeout_s == 120


def test_a_strong_model_behind_an_endpoint_may_plan_without_more_being_said():
    endpoint = Serving(engine="openai", base_url="http://gpu:8000/v1", model="m", strong=True)

    contexts = [
        fleet.models["m"].context_tokens
        for fleet in (read_fleet(endpoint), read_fleet(endpoint.model_copy(update={"context_tokens": 4_000})))
    ]

    assert contexts[0] >= LEAST_CONTEXT
    assert contexts[1] == 4_000


def test_models_told_twice_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, GOOD)

    with pytest.raises(Misconfigured, match=r"told twice.*serving\.model"):
        read_fleet(Serving(model="other"))
    assert "big" in read_fleet(Serving(port=9000)).models


def test_a_named_file_must_be_there(tmp_path: Path):
    with pytest.raises(Misconfigured, match="missing"):
        read_fleet(Serving(models_file=tmp_path / "not.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("engine: openai", "engin: openai", 3, "engine: this is needed"),
        ("engine: openai", "engin: openai", 4, "no such setting; did you mean engine?"),
        ("engine: openai", "engine: opnai", 4, "There is no engine 'opnai'. Did you mean openai? There is: llama_cpp,"),
        ("engine: minilm", "engine: minlm", 12, "There is no embedding engine 'minlm'. Did you mean minilm?"),
        ("{min: 1, max: 3}", "{min: 4, max: 3}", 9, "`max` is below `min`"),
        ("{min: 1, max: 3}", "0", 9, "it must be 1 or more"),
        ("gpus: 0.5", "gpus: 1.5", 10, "whole ones"),
        ("gpus: 0.5", "gpu: 1", 10, "there is no such setting; did you mean gpus?"),
        ("input: 1.0", "input: cheap", 11, "models.big.price.input: a number is needed"),
        ("summary: [small, big]", "summary: [small, bgi]", 14, "'bgi', which is no model here: did you mean big?"),
        ("summary: [small, big]", "summary: [minilm-l6-v2]", 14, "embeds"),
        ("summary: [small, big]", "summary: []", 14, "at least 1 are needed"),
        ("local_only: true", "local_only: perhaps", 18, "true or false is needed"),
        ("  big:", "  small:", 3, "small stands twice"),
        ("capabilities: [fast]", "capabilities: [quick]", 2, "capabilities.0: it must be fast, deep or embed"),
        ("capabilities: [fast]", "capabilities: [fats]", 2, "did you mean fast?"),
        ("models:", "models: [", 1, ""),
        ("capabilities: [embed]", "capabilities: [fast]", 1, "no model has the capability `embed`"),
        ("  big:", "  'b g':", 3, "models.b g: a name has letters, digits and"),
        (
            "{engine: minilm, capabilities: [embed]}",
            "minilm",
            12,
            "models.minilm-l6-v2: an object of names and values is",
        ),
        ("output: 4.0", "currency: euro", 11, "price.currency: a currency is three capital letters, as in EUR"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, said: str):
    path = write(tmp_path, GOOD.replace(old, new, 1))

    with pytest.raises(Misconfigured) as caught:
        parse(path)

    assert said in str(caught.value)
    if said:
        assert f"{path}, line {line}: " in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "a", "models:", "models: {}", "\x00", "&a [*a]", "- " * 2000])
def test_what_is_no_models_file_is_refused(tmp_path: Path, text: str):
    with pytest.raises(Misconfigured, match=r"models\.yaml, line 1: "):
        parse(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the file is empty: it needs models"),
        ("\n- small\n", "line 2: the file is no mapping of names to values: it needs models"),
        ("models:\n  a: 1\n\tb: 2\n", "line 3: no YAML: found character"),
    ],
)
def test_what_is_no_models_file_is_one_clear_sentence(tmp_path: Path, text: str, said: str):
    path = write(tmp_path, text)

    with pytest.raises(Misconfigured) as caught:
        parse(path)

    assert str(caught.value).startswith(f"{path}, {said}")
    assert "\n" not in str(caught.value)


def test_the_json_schema_takes_what_the_reader_takes(tmp_path: Path):
    import yaml

    validator = Draft202012Validator(schema())

    validator.validate(yaml.safe_load(GOOD))
    validator.validate(yaml.safe_load(EXAMPLE))
    assert list(validator.iter_errors({"models": {"a": {"engin": "x"}}}))


def test_the_json_schema_in_the_documentation_is_this_one():
    assert json.loads((ROOT / "docs/models.schema.json").read_text()) == schema()


def test_what_callers_are_told_holds_no_secret(tmp_path: Path):
    fleet = parse(write(tmp_path, GOOD))

    table = fleet.table()

    assert "env:A" not in table.model_dump_json()
    assert table.apps["big"] == fleet.models["big"].app
    assert type(table).model_validate(table.model_dump(mode="json")) == table


def test_only_what_needs_other_replicas_changes_an_applications_name(tmp_path: Path):
    big = parse(write(tmp_path, GOOD)).models["big"]
    dearer = parse(write(tmp_path, GOOD.replace("output: 4.0", "output: 5.0").replace("max: 3", "max: 5")))
    other = parse(write(tmp_path, GOOD.replace("env:B", "env:C")))

    assert dearer.models["big"].app == big.app
    assert other.models["big"].app != big.app


def test_a_fleet_goes_through_json():
    fleet = Fleet.model_validate({"models": {"a": {"engine": "x"}, "e": {"engine": "y", "capabilities": ["embed"]}}})

    assert Fleet.model_validate_json(fleet.model_dump_json()) == fleet
