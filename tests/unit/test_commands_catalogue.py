"""Jobs become commands."""

import logging

import dagster as dg
import pytest

from orchestration.commands.catalogue import Catalogue, compile_location, unique
from orchestration.commands.spec import CommandSpec
from tests.workflows import defs, greet, greet_op


@pytest.fixture(scope="module")
def specs() -> dict[str, CommandSpec]:
    return {spec.name: spec for spec in compile_location(defs.get_repository_def(), "test")}


def test_the_config_class_of_a_job_is_its_argument_list(specs):
    name, times = specs["greet"].arguments

    assert (name.name, name.required, name.description) == ("name", True, "Whom to greet.")
    assert (name.described("en"), name.described("zh")) == ("Whom to greet", "要问候的人")
    assert (times.name, times.required) == ("times", False)
    assert times.json_schema == {"default": 1, "maximum": 3, "minimum": 1, "type": "integer"}
    assert times.path == ("ops", "greet_op", "config", "times")


def test_metadata_says_what_a_job_lacks(specs):
    spec = specs["greet"]

    assert spec.description == "Say hello to somebody."
    assert spec.description_zh == "打招呼"
    assert spec.aliases == ("hi", "问好")
    assert spec.examples == ("Greet Ada", "向小王问好")
    assert specs["hidden"].hidden


def test_the_last_required_text_takes_the_rest_of_the_line(specs):
    assert specs["greet"].rest == "name"
    assert specs["report"].rest is None


def test_an_enum_is_said_by_value_and_configured_by_name(specs):
    config = specs["report"].run_config_for({"region": "亚洲", "days": 2})

    assert config == {"ops": {"report_op": {"config": {"region": "ASIA", "days": 2}}}}


def test_the_default_config_of_a_job_makes_arguments_optional_and_is_kept(specs):
    spec = specs["weekly"]

    assert not any(argument.required for argument in spec.arguments)
    assert spec.run_config_for({"chart": False}) == {
        "ops": {"report_op": {"config": {"region": "ASIA", "days": 3, "chart": False}}}
    }


def test_arguments_of_two_ops_with_one_name_carry_the_name_of_their_op(specs):
    assert [argument.name for argument in specs["both"].arguments] == [
        "greet_op.name",
        "greet_op.times",
        "second_greet_op.name",
        "second_greet_op.times",
    ]


def test_config_of_nested_graphs_is_found(specs):
    assert specs["deep"].run_config_for({"name": "Ada"}) == {
        "ops": {"nested": {"ops": {"greet_op": {"config": {"name": "Ada"}}}}}
    }


def test_a_config_mapping_is_the_argument_list_itself(specs):
    assert specs["mapped"].run_config_for({"name": "ada"}) == {"name": "ada"}


def test_a_secret_is_known_as_one(specs):
    assert specs["secretive"].arguments[0].secret


def test_jobs_whose_config_cannot_be_typed_are_left_out_with_a_reason(caplog):
    with caplog.at_level(logging.WARNING):
        names = {spec.name for spec in compile_location(defs.get_repository_def(), "logged once")}

    assert names.isdisjoint({"selective", "partitioned", "unreachable", "internal"})
    reasons = {record.job: record.reason for record in caplog.records if hasattr(record, "job")}
    assert "choice between fast, slow" in reasons["selective"]
    assert "partitioned" in reasons["partitioned"]
    assert "resources" in reasons["unreachable"]


def test_an_op_that_asks_for_nothing_adds_no_argument():
    @dg.op
    def shout(text: str) -> str:
        return text.upper()

    @dg.job
    def loud() -> None:
        shout(greet_op())

    (spec,) = compile_location(dg.Definitions(jobs=[loud]).get_repository_def(), "test")

    assert [argument.name for argument in spec.arguments] == ["name", "times"]


def test_the_assistant_is_no_command():
    @dg.job(name="assistant")
    def assistant() -> None:
        pass

    repository = dg.Definitions(jobs=[assistant]).get_repository_def()

    assert compile_location(repository, "core") == []


def test_a_taken_name_is_qualified_by_the_location(specs):
    renamed = unique([specs["greet"], specs["report"]], ["greet"])

    assert [spec.name for spec in renamed] == ["test-greet", "report"]


def test_a_job_cannot_take_the_name_of_a_control_command(specs):
    (spec,) = unique([specs["status"]], [])

    assert spec.name == "test-status"


def test_a_command_is_found_by_name_alias_and_any_way_of_writing_them(specs):
    catalogue = Catalogue(specs.values())

    for word in ("greet", "GREET", "ｇｒｅｅｔ", "问好", "hi"):
        assert catalogue.find(word) == specs["greet"]
    assert catalogue.find("nothing") is None
    assert catalogue.nearest("gret") == "greet"


def test_a_spec_survives_its_way_through_the_database(specs):
    for spec in specs.values():
        assert CommandSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_every_argument_of_every_command_fits_dagster(specs):
    dg.validate_run_config(greet, specs["greet"].run_config_for({"name": "Ada", "times": 3}))
    for name in ("report", "weekly", "legacy", "echo", "deep", "both", "secretive", "mapped"):
        values = {a.name: _sample(a.json_schema) for a in specs[name].arguments}
        job = defs.get_job_def(name)
        assert dg.validate_run_config(job, specs[name].run_config_for(values))


def _sample(schema: dict) -> object:
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    if "enum" in schema:
        return schema["enum"][-1]
    return {
        "string": "sixteen letters.",
        "integer": 2,
        "number": 0.5,
        "boolean": False,
        "array": [],
        "object": {"a": 1},
    }[schema["type"]]
