"""`runbell send`, `run`, `chat`, `commands`, `parse` and `outbox` against the real gateway and a scripted worker."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from integrations.database import Database, StoredCommand
from integrations.database.disposable import fresh_database
from integrations.gateway.client import ACCEPT_S, Client, NotUp
from integrations.messages import Address, Delivery, OutboundMessage
from tests.gateways import Gateway, ScriptedWorker, running_gateway, wait_for

RUNBELL = Path(sys.executable).with_name("runbell")
SPEC = {
    "name": "digest",
    "location": "core",
    "job": "digest",
    "description": "Post the digest now",
    "arguments": [
        {"name": "limit", "path": ["ops", "digest", "config", "limit"], "json_schema": {"type": "integer"}},
        {"name": "title", "path": ["ops", "digest", "config", "title"], "json_schema": {"type": "string"}},
    ],
}


@pytest.fixture(scope="module")
def gateway(postgres: str, database_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    with fresh_database(postgres, database_template) as url, running_gateway(url, home) as gateway:
        (home / "run").mkdir(exist_ok=True)
        (home / "run" / "endpoints.json").write_text(json.dumps({"database_url": url}))
        yield gateway


@pytest.fixture(scope="module")
def stores(gateway: Gateway) -> Iterator[Database]:
    database = Database(gateway.database_url, files=gateway.home / "files", pool_size=4)
    database.commands.replace("core", [StoredCommand("digest", "core", "digest", SPEC)])
    yield database
    database.close()


@pytest.fixture
def worker(stores: Database) -> Iterator[ScriptedWorker]:
    with ScriptedWorker(stores) as worker:
        yield worker


def start(gateway: Gateway, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [RUNBELL, *arguments],
        env={**os.environ, "RUNBELL_HOME": str(gateway.home), "RUNBELL_GATEWAY__PORT": str(gateway.port)},
        cwd=gateway.home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def runbell(gateway: Gateway, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    process = start(gateway, *arguments)
    out, errors = process.communicate(said, timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, errors)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("text", ["What is the capital of France?", "法国的首都是哪里？ 🗼"])
def test_send_prints_the_answer(gateway: Gateway, text: str) -> None:
    ended = runbell(gateway, "send", text)

    assert (ended.returncode, ended.stdout) == (0, f"echo: {text}\n")


@pytest.mark.usefixtures("worker")
def test_send_as_json_is_one_object_with_the_receipt(gateway: Gateway) -> None:
    ended = runbell(gateway, "send", "hello", "--conversation", "here", "--json")
    state = json.loads(ended.stdout)

    assert (state["status"], state["conversation"]) == ("answered", "here")
    assert state["receipt"]["accepted_at"]


def test_send_refuses_an_empty_text_as_wrong_usage(gateway: Gateway) -> None:
    ended = runbell(gateway, "send", "   ")

    assert ended.returncode == 2
    assert ended.stderr == "There is nothing to send: the text is empty.\n"


def test_send_that_gets_no_answer_in_time_fails_and_says_that_it_goes_on(gateway: Gateway) -> None:
    ended = runbell(gateway, "send", "hello", "--timeout", "1")

    assert ended.returncode == 1
    assert "There is no answer yet (received). It goes on" in ended.stdout


@pytest.mark.usefixtures("worker")
def test_run_types_its_arguments(gateway: Gateway) -> None:
    ended = runbell(gateway, "run", "digest", "limit=3", "title=3")

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "echo: digest {'limit': 3, 'title': '3'}\n"


@pytest.mark.usefixtures("stores")
def test_run_of_an_unknown_command_is_wrong_usage_with_a_hint(gateway: Gateway) -> None:
    ended = runbell(gateway, "run", "digset")

    assert ended.returncode == 2
    assert ended.stderr == "There is no command 'digset'. Did you mean digest?\n"


@pytest.mark.usefixtures("stores")
def test_a_wrong_argument_is_told_once(gateway: Gateway) -> None:
    ended = runbell(gateway, "run", "digest", "lmit=3")

    told, usage = ended.stderr.splitlines()
    assert (ended.returncode, told) == (2, "lmit: digest takes limit, title.")
    assert usage.endswith("runbell run digest [limit=…] [title=…]")


@pytest.fixture
def supervised(gateway: Gateway) -> Iterator[None]:
    """Publish this process as the supervisor."""
    me = psutil.Process()
    state = gateway.home / "run" / "state.json"
    state.write_text(json.dumps({"supervisor_pid": me.pid, "supervisor_began": me.create_time()}))
    yield
    state.unlink()


@pytest.mark.usefixtures("worker", "supervised")
def test_a_gateway_that_its_supervisor_starts_again_is_waited_for(gateway: Gateway) -> None:
    def restart(_: float) -> None:
        gateway.start()

    with Client(gateway.url, gateway.home, sleep=restart) as client:
        gateway.kill()
        sent = client.send("hello")
        gateway.kill()
        commands = client.commands()

    assert sent["status"] == "answered"
    assert [command["name"] for command in commands] == ["digest"]


@pytest.mark.usefixtures("supervised")
def test_a_gateway_that_does_not_come_back_is_not_waited_for_longer_than_said(gateway: Gateway) -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    with Client("http://127.0.0.1:9", gateway.home, sleep=sleep, now=lambda: clock[0]) as client:
        with pytest.raises(NotUp, match="Runbell is up, but its gateway does not answer"):
            client.send("hello")
        after_send = clock[0]
        with pytest.raises(NotUp):
            client.commands()

    assert ACCEPT_S <= after_send <= ACCEPT_S + 1.5
    assert ACCEPT_S <= clock[0] - after_send <= ACCEPT_S + 1.5


@pytest.mark.usefixtures("stores")
def test_commands_show_their_arguments(gateway: Gateway) -> None:
    assert runbell(gateway, "commands").stdout == "/digest [limit=…] [title=…]\n    Post the digest now\n"


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/digest limit=3", {"kind": "command", "command": "digest", "args": {"limit": 3}, "errors": []}),
        ("good morning", {"kind": "free", "command": None, "args": {}, "errors": []}),
    ],
)
def test_parse_tells_what_would_be_done(gateway: Gateway, text: str, expected: dict[str, object]) -> None:
    assert json.loads(runbell(gateway, "parse", text, "--json").stdout) == expected


@pytest.mark.usefixtures("stores")
def test_parse_explains_a_bad_value(gateway: Gateway) -> None:
    parsed = json.loads(runbell(gateway, "parse", "/digest limit=many", "--json").stdout)

    assert parsed["errors"][0]["word"]


@pytest.mark.usefixtures("worker")
def test_chat_streams_and_answers_each_line_once(gateway: Gateway) -> None:
    ended = runbell(gateway, "chat", "--conversation", str(uuid.uuid4()), said="stream one\ntwo\n")

    assert ended.returncode == 0, ended.stderr
    assert "0 1 2 3" in ended.stdout
    assert ended.stdout.count("echo: stream one") == 1
    assert ended.stdout.count("echo: two") == 1


def test_chat_survives_a_restart_of_the_gateway_in_the_middle(gateway: Gateway, worker: ScriptedWorker) -> None:
    worker.go_on.clear()
    process = start(gateway, "chat", "--conversation", str(uuid.uuid4()))
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("stream slowly\n")
    process.stdin.close()
    process.stdin = None
    handled = len(worker.handled)
    wait_for(lambda: len(worker.handled) > handled - 1 and "9 " in _partial(process), 30)
    gateway.kill()
    gateway.start()
    worker.go_on.set()

    rest, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    assert "(the connection is lost; connecting again)" in rest
    assert rest.count("echo: stream slowly") == 1


def _partial(process: subprocess.Popen[str]) -> str:
    """Return what was printed so far, a character at a time, up to the tenth token."""
    assert process.stdout is not None
    seen = ""
    while "9 " not in seen:
        seen += process.stdout.read(1)
    return seen


def test_outbox_lists_what_failed_and_replays_it(gateway: Gateway, stores: Database) -> None:
    address = Address(channel="nowhere", conversation="c")
    stores.outbox.post(OutboundMessage(address=address, text="hello", kind="post"), key=str(uuid.uuid4()))
    (item,) = stores.outbox.lease(["nowhere"], "test")
    stores.outbox.record(item, Delivery(state="failed", error="no such chat"))

    listed = runbell(gateway, "outbox", "list")
    replayed = runbell(gateway, "outbox", "replay", str(item.id))

    assert f"{item.id}  failed  nowhere c  no such chat" in listed.stdout
    assert replayed.returncode == 0
    assert runbell(gateway, "outbox", "list").stdout == "Everything was delivered.\n"
    assert runbell(gateway, "outbox", "replay", "999999").returncode == 1


def test_outbox_shows_one_with_its_text_and_drops_it(gateway: Gateway, stores: Database) -> None:
    address = Address(channel="elsewhere", conversation="c")
    stores.outbox.post(OutboundMessage(address=address, text="was it there?", kind="post"), key=str(uuid.uuid4()))
    (item,) = stores.outbox.lease(["elsewhere"], "test")
    stores.outbox.record(item, Delivery(state="unknown", error="cut off"))

    shown = runbell(gateway, "outbox", "show", str(item.id))
    dropped = runbell(gateway, "outbox", "drop", str(item.id))

    assert "was it there?" in shown.stdout
    assert "may be seen twice" in shown.stdout
    assert dropped.returncode == 0
    assert runbell(gateway, "outbox", "drop", str(item.id)).returncode == 1


def test_an_action_is_previewed_and_carried_out(gateway: Gateway) -> None:
    seen = runbell(gateway, "act", "send_message", "text=disk full", "--preview", "--json")
    done = runbell(gateway, "act", "send_message", "text=disk full", "--json")

    assert json.loads(seen.stdout)["preview"] == "would post 9 characters into this conversation"
    assert (done.returncode, json.loads(done.stdout)["data"]) == (0, {"fresh": True}), done.stderr


def test_an_action_that_may_not_be_carried_out_fails_and_wrong_words_are_usage(gateway: Gateway) -> None:
    refused = runbell(gateway, "act", "http_request", f"url={gateway.url}/healthz")
    unknown = runbell(gateway, "act", "htp_request")
    wrong = runbell(gateway, "act", "wait", "seconds=long")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "127.0.0.1 is not a public address; the setting actions.http.private may allow it." in refused.stderr
    assert (unknown.returncode, wrong.returncode) == (2, 2)
    assert "Did you mean http_request?" in unknown.stderr
