"""The conversation tester that authors use, and through it what people do with a command's run."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import dagster as dg
import pytest
from pydantic import Field

from integrations.errors import Forbidden, InvalidInput
from integrations.messages import Principal, Reply
from integrations.settings import Settings
from orchestration.actions import Occasion, Outcome, prepare
from orchestration.authoring import command
from orchestration.scaffold import create
from orchestration.testing import Conversation, Server
from orchestration.testing.recording import read, record
from orchestration.testing.replaying import differences, replay
from orchestration.testing.walls import walls
from serving.client import Models
from serving.schema import ChatMessage, ChatRequest

Open = Callable[..., Conversation]
BROKEN = {"yes": True}


class Speed(StrEnum):
    SLOW = "slow"
    FAST = "fast"


class Refund(dg.Config):
    order: int = Field(description="Which order.")
    speed: Speed = Speed.SLOW
    password: str = Field(default="none", json_schema_extra={"dagster__is_secret": True})


@dg.op
def look(context: dg.OpExecutionContext, config: Refund) -> int:
    context.log.info("looking for %s with password=%s", config.order, config.password)
    print("looked up\nno trouble")  # noqa: T201 - captured
    print("oh", file=sys.stderr)  # noqa: T201
    return config.order


@dg.op
def pay(context: dg.OpExecutionContext, order: int, settings: dg.ResourceParam[Settings]) -> str:
    arguments = {"url": f"https://pay.example.com/{order}", "method": "POST"}
    prepared = prepare("http_request", arguments, settings)
    who = Principal(id="p", tenant="default", name="Ada")
    occasion = Occasion(principal=who, account="ada", address=None, scope=None, key=context.run_id)  # type: ignore[arg-type]
    return f"Refunded order {order}: {prepared.carry_out(None, occasion).text}"  # type: ignore[arg-type]


@command("refund", aliases=["退款"], examples=["Refund the order 7, please", "请给订单 7 退款"])
@dg.job
def refund_order() -> None:
    """Give money back."""
    pay(look())


@dg.op
def first() -> int:
    return 1


@dg.op
def second(value: int) -> str:
    if BROKEN["yes"]:
        raise InvalidInput("The shop is closed.")
    return f"mended {value}"


@dg.job
def mendable() -> None:
    second(first())


@command(progress="none")
@dg.job
def quiet() -> None:
    second.alias("silent")(first.alias("zero")())


@dg.op
def word(models: dg.ResourceParam[Models]) -> Reply:
    asked = ChatRequest(messages=(ChatMessage(role="user", content="Word it."),))
    file = Path("said.txt")
    return Reply(text="".join(chunk.text for chunk in models.stream(asked)), files=(file,) if file.exists() else ())


@dg.job
def worded() -> None:
    word()


defs = dg.Definitions(
    jobs=[refund_order, mendable, quiet, worded],
    resources={"settings": "replaced by the tester's", "models": "replaced by the tester's"},
)


def test_a_command_shows_its_card_its_answer_its_run_and_its_effect(conversation: Open) -> None:
    ada = conversation(defs, actions={"http_request": Outcome(text="accepted")})

    said = ada.say("/refund order=7")

    assert said.answer == "Refunded order 7: accepted"
    assert said.run is not None
    assert (said.run.job, said.run.status) == ("refund_order", "SUCCESS")
    assert said.run.ops == {"look": "succeeded", "pay": "succeeded"}
    assert said.card is not None
    assert (said.card.title, said.card.state) == ("/refund", "succeeded")
    assert [step.name for step in said.card.steps] == ["look", "pay"]
    (done,) = said.effects
    assert (done.action, done.effect) == ("http_request", "write")
    assert done.args["url"] == "https://pay.example.com/7"


def test_what_is_missing_is_asked_for_and_a_wrong_word_is_explained(conversation: Open) -> None:
    ada = conversation(defs)

    asked = ada.say("/退款")
    assert asked.run is None
    assert "order" in asked.answer
    assert "whole number" in ada.say("/refund order=seven").answer
    assert "Refunded order 8" in ada.say("/refund 8 fast").answer


def test_the_model_says_what_it_is_told_to(conversation: Open) -> None:
    ada = conversation(defs, model=["A scripted sentence."])

    assert ada.say("/worded").answer == "A scripted sentence."


def test_a_sentence_only_proposes_a_command_which_a_button_starts(conversation: Open) -> None:
    ada = conversation(defs)

    proposed = ada.say("Refund the order 7, please")
    started = ada.press(proposed.buttons[0])

    assert "/refund" in proposed.answer
    assert not proposed.effects
    assert started.run is not None
    assert len(started.effects) == 1


def test_a_failed_run_is_retried_once_and_a_done_one_run_again_once(conversation: Open) -> None:
    ada = conversation(defs)
    BROKEN["yes"] = True
    failed = ada.say("/mendable")
    BROKEN["yes"] = False

    retried = ada.press("Retry from failure")
    again = ada.press("Run again")
    twice = ada.say(f"/retry {failed.run.id}"), ada.say(f"/again {retried.run.id}")  # type: ignore[union-attr]

    assert failed.buttons == ["Retry from failure", "Run again"]
    assert (retried.answer, again.answer) == ("mended 1", "mended 1")
    assert retried.run is not None
    assert again.run is not None
    assert retried.run.ops == {"second": "succeeded"}
    assert again.run.ops == {"first": "succeeded", "second": "succeeded"}
    for refused, earlier in zip(twice, (retried, again), strict=True):
        assert refused.run is None
        assert "done already" in refused.answer
        assert earlier.run is not None
        assert earlier.run.id[:8] in refused.answer


def test_what_is_run_again_is_run_with_what_was_asked_for_also_piece_by_piece_and_in_secret(
    conversation: Open,
) -> None:
    ada = conversation(defs)
    ada.say("/refund")
    first_run = ada.say("7")
    secret = ada.command("refund", order=9, password="hunter2")

    assert ada.say(f"/again {first_run.run.id}").answer.startswith("Refunded order 7")  # type: ignore[union-attr]
    again = ada.say(f"/again {secret.run.id}")  # type: ignore[union-attr]

    assert again.run is not None
    assert again.run.config == secret.run.config  # type: ignore[union-attr]
    assert "hunter2" not in str(again.run.config)


def test_others_runs_are_neither_run_again_nor_canceled_nor_read(conversation: Open) -> None:
    ada = conversation(defs)
    run_id = ada.say("/refund 7").run.id  # type: ignore[union-attr]
    bob = ada.person("Bob")

    for words in ("again", "cancel", "retry", "logs", "再次", "日志"):
        said = bob.say(f"/{words} {run_id}")
        assert said.run is None
        assert run_id in said.answer
        assert "looked up" not in said.answer


@pytest.mark.parametrize("words", ["/logs", "/日志", "/log {run}"])
def test_the_last_lines_of_a_run_can_be_read_without_its_secrets(conversation: Open, words: str) -> None:
    ada = conversation(defs)
    run = ada.command("refund", order=9, password="hunter2").run
    assert run is not None

    shown = ada.say(words.format(run=run.id)).answer

    assert "looking for 9" in shown
    assert "looked up\nno trouble" in shown
    assert "oh" in shown
    assert "hunter2" not in shown


def test_a_command_that_says_so_shows_no_card_and_no_buttons(conversation: Open) -> None:
    ada = conversation(defs)
    BROKEN["yes"] = False

    said = ada.say("/quiet")

    assert (said.answer, said.card, said.buttons) == ("mended 1", None, [])


def test_chinese_commands_get_chinese_buttons(conversation: Open) -> None:
    ada = conversation(defs)

    said = ada.say("/退款 7")
    again = ada.press("再次运行")

    assert said.buttons == ["再次运行"]
    assert again.answer.startswith("Refunded order 7")
    assert ada.say(f"/再次 {said.run.id}").answer.startswith("已经执行过了")  # type: ignore[union-attr]


def test_a_recorded_conversation_comes_out_the_same_until_the_code_changes(
    conversation: Open, runbell_server: Server
) -> None:
    ada = conversation(defs, name="Ada Lovelace", actions={"http_request": Outcome(text="accepted")})
    ada.say("/refund order=7 password=hunter2")
    ada.press("Run again")
    ada.say("/refund order=seven")
    ada.say("Refund the order 9, please; write to ada@shop.org")
    ada.press("Yes")

    text = record(ada.house.database, "default", ada.address.conversation).written()
    recorded = read(text)
    first_replay = replay(recorded, runbell_server, {"shop": defs})
    accepted = read(first_replay.written())
    again = replay(accepted, runbell_server, {"shop": defs})
    changed = replay(accepted, runbell_server, {"shop": dg.Definitions(jobs=[mendable, quiet])})

    assert not any(word in text for word in ("hunter2", "Lovelace", "ada@shop.org", ada.principal.id))
    assert [turn.command for turn in recorded.turns] == ["refund", "refund", None, None, "refund"]
    assert recorded.turns[1].press == "Run again"
    # The outcome of an action is not in a transcript: its preview is what a replay has, until it is accepted.
    assert [line.splitlines()[0] for line in differences(recorded, first_replay)] == [
        "turn 1: /refund order=7 password=[redacted]", "turn 2: [Run again]", "turn 5: [Yes]",
    ]  # fmt: skip
    assert accepted.turns[0].effects == [
        {"action": "http_request", "url": "https://pay.example.com/7", "method": "POST"}
    ]
    assert not list(differences(accepted, again))
    assert "-command: refund" in next(differences(accepted, changed))


def test_a_replay_reaches_no_other_machine() -> None:
    with walls(), socket.socket() as here, pytest.raises(Forbidden, match="nothing leaves"):
        here.connect(("192.0.2.1", 9))


def test_who_may_chooses_the_model_of_a_conversation(conversation: Open) -> None:
    ada = conversation(
        defs, settings={"serving": {"model": "house", "engine": "openai", "base_url": "http://127.0.0.1:9"}}
    )

    listed = ada.say("/model").answer
    refused = ada.say("/model nonesuch").answer
    chosen = ada.say("/模型 house").answer
    answered = ada.say("Tell me a story")
    back = ada.say("/model default").answer

    assert "`house` answers here" in listed
    assert "no model `nonesuch`" in refused
    assert "`house`" in chosen
    assert answered.run is not None
    assert ada.house.models.requests[-1].model == "house"  # type: ignore[union-attr]
    assert "`default`" in back
    last = ada.say("What is the capital of France?")
    assert last.status == "answered", last
    assert [request.model for request in ada.house.models.requests] == ["house", None]  # type: ignore[union-attr]


def test_the_tests_that_runbell_new_writes_pass(tmp_path: Path) -> None:
    create("demo_of_tests", tmp_path / "workspace.yaml")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "demo_of_tests"]
    environment = {**os.environ, "PYTHONPATH": "."}
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)

    assert ended.returncode == 0, ended.stdout
    assert "3 passed" in ended.stdout
