"""The golden set: how replies are judged, what is kept per model version, and what its check says of a regression."""

from dataclasses import dataclass, field

import dagster as dg
import pytest

from assets.evaluation import model_evaluation
from assets.golden import Case, Known, Reply, as_markdown, golden, judge, scores
from integrations.settings import Settings
from orchestration.commands.catalogue import compile_location
from orchestration.examinee import Assistant
from orchestration.jobs.evaluation import evaluate_models
from orchestration.triggers.evaluation import new_model_version
from serving.client import ScriptedModels
from serving.fleet import Fleet

FLEET = {
    "models": {
        "scripted": {"engine": "llama_cpp"},
        "other": {"engine": "llama_cpp"},
        "e": {"engine": "minilm", "capabilities": ["embed"]},
    }
}


@dataclass
class Examined:
    """Answers every case right but those of `wrong`."""

    fingerprint: str = "small@1"
    wrong: set[str] = field(default_factory=set)

    def version(self) -> dict[str, str]:
        return {"model": "small", "engine": "llama_cpp", "embedder": "e", "fingerprint": self.fingerprint}

    def reply(self, case: Case, commands: dict[str, Known]) -> Reply:
        assert case.command is None or case.command in commands
        if case.id in self.wrong:
            return Reply(text="nonsense", command="nonsense")
        admitted = golden().admits[case.language][0] if case.kind == "unknown" else ""
        return Reply(text=" ".join([*case.must, admitted]), command=case.command)


def examine(instance: dg.DagsterInstance, who: Examined) -> tuple[dict[str, object], dg.AssetCheckEvaluation]:
    result = dg.materialize([model_evaluation], instance=instance, resources={"examinee": who})
    (kept,) = result.asset_materializations_for_node("model_evaluation")
    (check,) = result.get_asset_check_evaluations()
    return {name: value.value for name, value in kept.metadata.items()}, check


@pytest.mark.parametrize(
    ("case", "reply", "wrong"),
    [
        ({"kind": "command", "command": "sales"}, Reply(command="sales"), ""),
        ({"kind": "command", "command": "sales"}, Reply(command="room"), "not sales"),
        ({"kind": "command", "command": "sales"}, Reply(text="Sales are fine."), "not sales"),
        ({"kind": "command"}, Reply(command="room"), "not a command"),
        ({"kind": "command"}, Reply(text="hello"), ""),
        ({"kind": "grounded", "must": ["6543"]}, Reply(text="Port 6543."), ""),
        ({"kind": "grounded", "must": ["miriam"]}, Reply(text="MIRIAM"), ""),
        ({"kind": "grounded", "must": ["6543"]}, Reply(text="Port 5432."), "lacks 6543"),
        ({"kind": "grounded", "must": ["1"], "must_not": ["2"]}, Reply(text="1 or 2"), "says 2"),
        ({"kind": "grounded", "must": ["1"]}, Reply(text="1", command="room"), "proposed room"),
        ({"kind": "unknown"}, Reply(text="I don't know."), ""),
        ({"kind": "unknown"}, Reply(text="It is Jupiter."), "does not admit that it does not know"),
        ({"kind": "unknown", "must_not": ["nine"]}, Reply(text="I don't know, nine perhaps."), "says nine"),
    ],
)
def test_words_decide_whether_a_reply_is_right(case: dict, reply: Reply, wrong: str):
    asked = Case.model_validate({"id": "c", "language": "en", "text": "?", **case})

    assert judge(asked, reply, golden().admits["en"]).wrong == wrong


def test_the_set_has_both_languages_and_every_kind_and_its_names_are_its_own():
    cases = golden().cases

    assert len({case.id for case in cases}) == len(cases) >= 24
    assert {(case.kind, case.language) for case in cases} == {
        (kind, language) for kind in ("command", "grounded", "unknown") for language in ("en", "zh")
    }
    assert all(case.must for case in cases if case.kind == "grounded")
    assert all(word in " ".join(case.facts) for case in cases for word in case.must)


def test_what_is_wrong_comes_first_and_no_answer_breaks_the_table():
    cases = golden().cases[:2]
    marks = [judge(cases[0], Reply(command=cases[0].command), ()), judge(cases[1], Reply(text="a | b\nc"), ())]

    table = as_markdown(marks).splitlines()

    assert cases[1].id in table[2]
    assert "a \\| b c" in table[2]
    assert len(table) == 4
    assert scores(marks)["all"] == 0.5


def test_an_evaluation_is_kept_with_its_scores_cases_and_version():
    with dg.DagsterInstance.ephemeral() as instance:
        kept, check = examine(instance, Examined(wrong={"pick-en-servers"}))

    many = len(golden().cases)
    assert kept["fingerprint"] == "small@1"
    assert kept["score_all"] == round((many - 1) / many, 4)
    assert kept["score_grounded"] == 1.0
    assert "nonsense" in str(kept["cases"])
    assert check.passed  # nothing to compare with


def test_a_case_that_the_former_version_got_right_is_told_by_the_check():
    with dg.DagsterInstance.ephemeral() as instance:
        examine(instance, Examined("small@1", wrong={"pick-zh-down"}))
        examine(instance, Examined("small@2", wrong={"pick-zh-down"}))
        _, worse = examine(instance, Examined("small@3", wrong={"pick-en-down"}))
        _, again = examine(instance, Examined("small@3", wrong={"pick-en-down"}))
        _, better = examine(instance, Examined("small@4"))

    assert not worse.passed
    assert worse.severity is dg.AssetCheckSeverity.ERROR
    assert "small@2 scored" in str(worse.description)
    assert "no more right: pick-en-down" in str(worse.description)
    assert worse.metadata["gained"].value == ["pick-zh-down"]
    assert not again.passed  # a second look at the same version hides nothing
    assert better.passed


def test_the_job_is_a_command_of_administrators_that_is_not_proposed():
    found = dg.Definitions(assets=[model_evaluation], jobs=[evaluate_models], resources={"examinee": Examined()})

    (spec,) = compile_location(found.get_repository_def(), "core")

    assert (spec.name, spec.hidden, spec.allowed, spec.effect) == ("evaluate_models", True, ("role:admin",), "read")


def test_a_version_is_evaluated_once_after_it_began_to_answer():
    before = new_model_version(dg.build_sensor_context(resources={"examinee": Examined("small@1")}))
    same = new_model_version(dg.build_sensor_context(resources={"examinee": Examined("small@1")}))
    after = new_model_version(dg.build_sensor_context(resources={"examinee": Examined("small@2")}))

    assert before.run_key == same.run_key != after.run_key


def test_the_assistant_is_asked_as_it_answers_people_but_without_chance(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RUNBELL_HOME", str(tmp_path))
    models, fleet = ScriptedModels(fallback=lambda _: "I can't say."), Fleet.model_validate(FLEET)
    assistant = Assistant(models, Settings(), lambda: fleet)
    by_id = {case.id: case for case in golden().cases}

    # Counted words are no vectors that would tell a question from a command.
    told = {name: assistant.reply(by_id[name], {}) for name in ("says-en-port", "says-zh-owner")}
    unknown = assistant.reply(by_id["admits-en-server"], {})
    picked = assistant.reply(by_id["pick-en-revenue"], golden().commands)

    assert "6543" in told["says-en-port"].text
    assert "王敏" in told["says-zh-owner"].text
    assert judge(by_id["admits-en-server"], unknown, golden().admits["en"]).passed
    assert picked.command == "sales"
    assert {(request.model, request.temperature) for request in models.requests} <= {("scripted", 0.0)}


def test_a_fingerprint_changes_with_what_answers_and_how_it_is_served(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RUNBELL_HOME", str(tmp_path))

    def version(**changed: object) -> dict[str, str]:
        models = {**FLEET["models"], "scripted": {**FLEET["models"]["scripted"], **changed}}
        told = Fleet.model_validate({"models": models, "routes": {"default": ["scripted"]}})
        return Assistant(ScriptedModels(), Settings(), lambda: told).version()

    assert version() == version()
    assert version()["fingerprint"].startswith("scripted@")
    assert len({version()["fingerprint"], version(context_tokens=512)["fingerprint"]}) == 2
    assert version()["fingerprint"] == version(price={"input": 1})["fingerprint"]
