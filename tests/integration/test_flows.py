"""Workflows in YAML as people meet them: said in a conversation, carried out step by step, answered."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from orchestration.actions import Outcome
from orchestration.flows import load_flows
from orchestration.testing import Conversation

Open = Callable[..., Conversation]
EXAMPLES = Path(__file__).parents[2] / "examples" / "flows"
REFUND = """
command: refund
aliases: [退款]
arguments:
  order: {type: integer, minimum: 1, description: Which order.}
  note: {type: text, default: ""}
  token: {type: secret, optional: true}
steps:
  fetch:
    http_request: {url: "https://shop.example.com/orders/{{ args.order }}?note={{ args.note }}"}
  pay:
    when: {steps.fetch.body.state: paid}
    http_request:
      url: https://shop.example.com/refunds
      method: POST
      headers: {X-Order: "{{ args.order }}", Authorization: "Bearer {{ args.token }}"}
      json_body: {order: "{{ args.order }}", total: "{{ steps.fetch.body.total }}", why: "note: {{ args.note }}"}
  tell:
    send_message: {text: "Paid {{ steps.pay.body.total }}, token {{ args.token }}"}
reply:
  - when: {steps.pay: {not: null}}
    text: "Refunded {{ steps.fetch.body.total }}."
  - text: "Order {{ args.order }} is {{ steps.fetch.body.state }}: nothing was refunded."
"""


@pytest.fixture
def flow(tmp_path: Path) -> Callable[[str], dg.Definitions]:
    def load(text: str) -> dg.Definitions:
        (tmp_path / "flow.yaml").write_text(text)
        return load_flows(tmp_path)

    return load


def shop(state: str) -> Callable[[dict[str, object]], Outcome]:
    def answer(args: dict[str, object]) -> Outcome:
        return Outcome(
            text=f"{args['url']}: 200", data={"status": 200, "body": f'{{"state": "{state}", "total": 12.5}}'}
        )

    return answer


def test_a_command_is_carried_out_step_by_step_and_answered(flow, conversation: Open) -> None:
    ada = conversation(flow(REFUND), actions={"http_request": shop("paid")})

    said = ada.say('/退款 7 note="late & lost" token=tok-4711')

    assert said.answer == "Refunded 12.5."
    assert said.run is not None
    assert said.run.ops == dict.fromkeys(["arguments", "fetch", "pay", "tell", "reply"], "succeeded")
    fetched, paid, told = said.effects
    assert fetched.args == {"url": "https://shop.example.com/orders/7?note=late%20%26%20lost"}
    assert paid.args["json_body"] == {"order": 7, "total": 12.5, "why": "note: late & lost"}
    assert paid.args["headers"] == {"X-Order": "7", "Authorization": "Bearer tok-4711"}
    assert (paid.principal, paid.key) == ("Ada", f"{said.run.id}:pay")
    assert told.args == {"text": "Paid 12.5, token tok-4711"}


def test_what_a_condition_leaves_out_and_what_needs_it_is_not_done(flow, conversation: Open) -> None:
    ada = conversation(flow(REFUND), actions={"http_request": shop("new")})

    said = ada.say("/refund 7 token=x")

    assert said.answer == "Order 7 is new: nothing was refunded."
    assert [done.action for done in said.effects] == ["http_request"]
    assert said.run is not None
    assert said.run.ops["tell"] == "skipped"


CAREFUL = """
command: move
arguments:
  amount: {type: number}
steps:
  ask:
    when: {args.amount: {above: 100}}
    approval: {approvers: [boss], question: "Move {{ args.amount }}?"}
  pause:
    needs: [ask]
    wait: 1s
  move:
    needs: [pause]
    http_request: {url: https://bank.example.com/moves, method: POST, json_body: {amount: "{{ args.amount }}"}}
reply: "Moved. {{ steps.ask.text }}"
"""


def test_a_step_waits_for_an_approval_without_a_worker_and_goes_on_once_it_is_given(flow, conversation: Open) -> None:
    ada = conversation(flow(CAREFUL))
    boss = ada.person("Bo", roles=("user", "boss"))

    asked = ada.say("/move 500")
    assert asked.status == "waiting"
    assert asked.effects == []
    (wanted,) = ada.house.database.approvals.concerning(boss.principal)
    assert (wanted.subject, wanted.args) == ("Move 500?", {"amount": 500})
    boss.say(f"/approve {wanted.id}")

    assert asked.wait(settled=True).answer == "Moved. Approved by Bo."
    assert [done.args["json_body"] for done in ada.house.effects.done] == [{"amount": 500}]


def test_a_step_that_was_left_out_holds_nobody_up_who_only_comes_after_it(flow, conversation: Open) -> None:
    said = conversation(flow(CAREFUL)).say("/move 5").wait(settled=True)

    assert said.answer.strip() == "Moved."
    assert len(said.effects) == 1


def test_who_says_that_it_reads_may_not_write(flow, conversation: Open) -> None:
    said = conversation(flow(CAREFUL.replace("steps:", "effect: read\nsteps:"))).say("/move 5").wait(settled=True)

    assert "effect: read" in said.answer
    assert said.effects == []


def test_the_example_promises_waits_and_reminds(conversation: Open) -> None:
    said = conversation(load_flows(EXAMPLES)).say('/remind "in 1 second" buy milk').wait(settled=True)

    assert said.answer == "⏰ buy milk"
    (promised,) = said.effects
    assert promised.args["text"].startswith("I will remind you at 20")
