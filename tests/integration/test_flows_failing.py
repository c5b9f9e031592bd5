"""Steps of workflows in YAML that fail and are tried again, scripts behind real walls, and secrets that stay secret."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from integrations import sandbox
from integrations.database import Database
from integrations.errors import Forbidden, Unavailable
from orchestration.actions import Outcome
from orchestration.flows import load_flows
from orchestration.testing import Conversation

Open = Callable[..., Conversation]
Load = Callable[[str], dg.Definitions]
SECRET = 'tok-4711 "quoted" é'
PAY = """
command: pay
arguments:
  token: {type: secret, optional: true}
steps:
  call:
    retries: {max_retries: 2, delay: 0.01s}
    http_request: {url: "https://shop.example.com/pay", method: POST, body: "{{ args.token }}"}
reply: "{{ steps.call.text }}"
"""
REPORT = """
from dagster_pipes import open_dagster_pipes
with open_dagster_pipes() as pipes:
    pipes.log.info(f"it is {said}")
    pipes.report_custom_message({said: [said]})
print(said)
"""
CALL = PAY.splitlines()[-2].strip()
SCRIPT = """
command: count
arguments:
  word: {type: text}
  token: {type: secret, optional: true}
steps:
  look:
    run_script: {script: count.py, arguments: ["{{ args.word }}"], input: "{{ args.token }}"}
reply: "{{ steps.look.output }}"
"""


@pytest.fixture
def flow(tmp_path: Path) -> Load:
    def load(text: str) -> dg.Definitions:
        (tmp_path / "flow.yaml").write_text(text)
        return load_flows(tmp_path)

    return load


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that answers with what it was sent; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            said = b"you said " + body + b" to " + self.path.encode() + str(self.headers["X-Token"]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - the server's name

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_action_that_fails_is_tried_again_as_often_as_its_step_says_under_one_key(
    flow: Load, conversation: Open
) -> None:
    left = [Unavailable("the bank is away"), Unavailable("the bank is away")]

    def pay(_: object) -> Outcome:
        if left:
            raise left.pop()
        return Outcome(text="paid")

    ada = conversation(flow(PAY), actions={"http_request": pay})

    said = ada.say("/pay")

    assert (said.status, said.answer) == ("answered", "paid")
    assert len({done.key for done in said.effects}) == 1
    assert len(said.effects) == 3


def test_one_that_fails_more_often_ends_the_run_with_the_reason(flow: Load, conversation: Open) -> None:
    ada = conversation(flow(PAY), actions={"http_request": Unavailable("the bank is away")})

    said = ada.say("/pay")

    assert said.status == "failed"
    assert "the bank is away" in said.answer
    assert len(said.effects) == 3


def test_what_another_attempt_would_meet_again_is_not_tried_again(flow: Load, conversation: Open) -> None:
    ada = conversation(flow(PAY), actions={"http_request": Forbidden("not your account")})

    said = ada.say("/pay")

    assert said.status == "failed"
    assert "not your account" in said.answer
    assert len(said.effects) == 1


def test_a_step_runs_a_script_behind_walls(flow: Load, conversation: Open, tmp_path: Path) -> None:
    assert sandbox.available(), "bubblewrap is missing or may not work: apt-get install bubblewrap"
    (tmp_path / "elsewhere").write_text("not for scripts")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "count.py").write_text(
        "import os, sys\n"
        f"print(sys.argv[1], len(sys.argv[1]), os.path.exists({str(tmp_path / 'elsewhere')!r}), os.listdir('.'))\n"
    )
    scripts = {"scripts": {"folder": tmp_path / "scripts"}}
    text = SCRIPT.replace(', input: "{{ args.token }}"', "")
    ada = conversation(flow(text), actions={"run_script": None}, settings={"actions": {"allow": ["*"], **scripts}})

    said = ada.say('/count "{{ args.token }}; $(id)"')

    assert said.answer.strip() == "{{ args.token }}; $(id) 23 False ['count.py']"
    assert [done.action for done in said.effects] == ["run_script"]


def test_a_secret_that_is_echoed_stands_in_no_outcome(flow: Load, conversation: Open, echo: str) -> None:
    text = PAY.replace("https://shop.example.com/pay", f"http://{echo}/pay?token={{{{ args.token }}}}")
    text = text.replace("method: POST", 'method: POST, headers: {X-Token: "{{ args.token }}"}')
    http = {"http": {"private": [echo]}}
    ada = conversation(flow(text), actions={"http_request": None}, settings={"actions": {"allow": ["*"], **http}})

    said = ada.command("pay", token="tok-4711-abcdef")

    assert said.status == "answered"
    assert "you said ••• to /pay?token=•••" in said.answer
    assert found("tok-4711-abcdef", ada.house.database) == []


@pytest.mark.parametrize(
    "script", ["print(said)", "raise SystemExit(said)", "import json; raise SystemExit(json.dumps(said))", REPORT]
)
def test_a_secret_that_a_script_says_stands_in_no_outcome_and_no_error(
    flow: Load, conversation: Open, tmp_path: Path, script: str
) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "count.py").write_text(f"import sys; said = sys.stdin.read()\n{script}\n")
    scripts = {"scripts": {"folder": tmp_path / "scripts"}}
    ada = conversation(flow(SCRIPT), actions={"run_script": None}, settings={"actions": {"allow": ["*"], **scripts}})

    said = ada.command("count", word="w", token=SECRET)

    assert "•••" in said.answer
    assert found("tok-4711", ada.house.database) == []


def test_a_secret_that_does_not_fit_is_not_quoted_by_what_says_so(flow: Load, conversation: Open) -> None:
    text = PAY.replace(CALL, 'ask_model: {prompt: hi, max_tokens: "{{ args.token }}"}')
    ada = conversation(flow(text), actions={"ask_model": None})

    said = ada.command("pay", token=SECRET)

    assert said.status == "failed"
    assert "max_tokens" in said.answer
    assert found("tok-4711", ada.house.database) == []


def found(secret: str, database: Database) -> list[str]:
    """Return the tables that hold a secret, as text or within bytes."""
    tables = sa.text(
        "select table_schema || '.' || table_name from information_schema.tables"
        " where table_schema in ('runbell', 'public') and table_type = 'BASE TABLE'"
    )
    inside = "select count(*) from {} t where t::text like :text or t::text like :bytes"
    values = {"text": f"%{secret}%", "bytes": f"%{secret.encode().hex()}%"}
    with database.engine.begin() as connection:
        names = connection.scalars(tables).all()
        return [name for name in names if connection.scalar(sa.text(inside.format(name)), values)]
