"""The command line without a server: arguments, the transcript, plain errors, quick help."""

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from integrations.errors import InvalidInput
from integrations.gateway.installation import is_kept, program, reach
from integrations.gateway.live import Frame, LiveChat
from integrations.security.tokens import create_token
from integrations.settings import Gateway, Settings
from orchestration.supervise.ports import free_port, is_free
from orchestration.terminal.answers import show_message
from orchestration.terminal.arguments import refused, typed
from orchestration.terminal.transcript import Transcript
from orchestration.terminal.usage import usage

RUNBELL = Path(sys.executable).with_name("runbell")
YES_OR_NO = [
    {"label": "Yes", "text": "yes #0123abcd"},
    {"label": "否", "text": "否 #0123abcd"},
    {"label": "The digest", "text": "/digest limit=3"},
]
COMMANDS = [
    {
        "name": "health",
        "aliases": ["体检"],
        "schema": {
            "properties": {
                "urls": {"type": "array", "items": {"type": "string"}},
                "timeout_s": {"type": "number"},
                "deep": {"type": "boolean"},
                "title": {"type": "string"},
                "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            }
        },
    }
]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["timeout_s=2.5"], {"timeout_s": 2.5}),
        (["deep=true"], {"deep": True}),
        (["title=12"], {"title": "12"}),
        (["title=a=b"], {"title": "a=b"}),
        (["urls=a.example,b.example"], {"urls": ["a.example", "b.example"]}),
        (['urls=["a.example"]'], {"urls": ["a.example"]}),
        (["limit=null"], {"limit": None}),
        (["limit=seven"], {"limit": "seven"}),
        (["unknown=7"], {"unknown": 7}),
        (["title=你好"], {"title": "你好"}),
    ],
)
def test_words_become_what_the_schema_wants(words: list[str], expected: dict[str, object]) -> None:
    assert typed("体检", words, COMMANDS) == expected


@pytest.mark.parametrize("word", ["plain", "=x", ""])
def test_a_word_without_a_key_is_refused(word: str) -> None:
    with pytest.raises(InvalidInput, match="not of the form key=value"):
        typed("health", [word], COMMANDS)


class Told(LiveChat):
    """A live chat that says what it was told to."""

    def __init__(self, home: Path, *frames: Frame) -> None:
        create_token(home)
        super().__init__("http://127.0.0.1:9", home, "test")
        self._frames = frames

    async def frames(self) -> AsyncIterator[Frame]:
        for frame in self._frames:
            yield frame


def progress(seq: int, **body: object) -> Frame:
    return {"type": "progress", "message_id": "m", "seq": seq, "body": body}


def entry(number: int, text: str, role: str = "assistant", **more: object) -> Frame:
    return {"type": "entry", "id": number, "message_id": "m", "role": role, "text": text, **more}


ACCEPTED = {"type": "accepted", "event_id": "e", "message_id": "m"}
SETTLED = {"type": "settled", "message_id": "m", "status": "answered"}


async def shown(home: Path, *frames: Mapping[str, Any]) -> tuple[str, Transcript]:
    written: list[str] = []
    transcript = Transcript(Told(home, *frames), written.append, url="http://127.0.0.1:9", colours=False)
    await transcript.follow()
    return "".join(written), transcript


async def test_a_streamed_answer_is_shown_once(tmp_path: Path) -> None:
    text, _ = await shown(
        tmp_path,
        ACCEPTED,
        progress(1, type="delta", text="Par"),
        progress(2, type="delta", text="is."),
        entry(1, "Paris."),
        SETTLED,
    )

    assert text == "Paris.\n"


async def test_an_answer_that_differs_from_what_was_streamed_is_shown(tmp_path: Path) -> None:
    text, _ = await shown(tmp_path, ACCEPTED, progress(1, type="delta", text="Lon"), entry(1, "Paris."), SETTLED)

    assert text == "Lon\nParis.\n"


async def test_progress_that_was_seen_is_not_shown_again(tmp_path: Path) -> None:
    snapshot = {"type": "snapshot", "event_id": "e", "message_id": "m", "seq": 2, "partial": "Par", "text": "?"}
    text, _ = await shown(
        tmp_path,
        ACCEPTED,
        progress(1, type="delta", text="P"),
        snapshot,
        progress(2, type="delta", text="ar"),
        progress(3, type="delta", text="is."),
    )

    assert text == "Paris."


async def test_ops_and_the_runs_link_are_shown(tmp_path: Path) -> None:
    text, _ = await shown(
        tmp_path,
        ACCEPTED,
        progress(1, type="run", job="assistant", url="http://ui/runs/1", run_id="1"),
        progress(2, type="op", op="recall", state="started"),
        progress(3, type="op", op="recall", state="succeeded", ms=12.4),
    )

    assert text == "  assistant: http://ui/runs/1\n  ✓ recall 12 ms\n"


async def test_choices_are_shown_as_a_person_says_them(tmp_path: Path) -> None:
    text, _ = await shown(tmp_path, entry(1, "要运行吗？", choices=YES_OR_NO))

    assert text == "要运行吗？\nsay: yes · 否 · /digest limit=3\n"


async def test_a_file_is_shown_with_its_full_address(tmp_path: Path) -> None:
    text, _ = await shown(tmp_path, entry(1, "Here.", attachments=[{"name": "a.png", "url": "/v1/files/ab"}]))

    assert text == "Here.\n📎 a.png http://127.0.0.1:9/v1/files/ab\n"


def test_an_answer_with_choices_tells_how_to_answer(capsys: pytest.CaptureFixture[str]) -> None:
    state = {"status": "answered", "conversation": "c 1", "replies": [{"text": "Run it?", "choices": YES_OR_NO[:2]}]}

    show_message(state, "http://127.0.0.1:9", as_json=False)

    assert capsys.readouterr().out == f"Run it?\nAnswer with: {program()} send --conversation 'c 1' yes (or: '否')\n"


def test_a_command_that_waits_for_an_approval_says_how_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    show_message({"status": "waiting", "waits_for": {"approval_id": "a"}}, "http://127.0.0.1:9", as_json=False)

    assert "send /approvals" in capsys.readouterr().out


def test_a_command_that_waits_for_a_time_says_so_and_of_no_approval(capsys: pytest.CaptureFixture[str]) -> None:
    state = {"status": "waiting", "waits_for": {"text": "waits until 2026-11-27 09:00 UTC"}}

    show_message(state, "http://127.0.0.1:9", as_json=False)

    said = capsys.readouterr().out
    assert "waits until 2026-11-27 09:00 UTC" in said
    assert "approv" not in said


def test_the_program_is_named_as_it_can_be_typed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(RUNBELL.parent.parent)
    assert program() == f"{RUNBELL.parent.name}/runbell"

    monkeypatch.chdir(tmp_path)
    assert program() == str(RUNBELL)

    (tmp_path / "runbell").touch(mode=0o700)
    assert program() == "runbell"


def test_an_unknown_command_is_told_once_in_the_words_of_the_terminal() -> None:
    error = InvalidInput("There is no such command. GET /v1/commands lists them.", field="command")

    assert str(refused("healht", COMMANDS, error)) == "There is no command 'healht'. Did you mean health?"
    assert str(refused("nope", COMMANDS, error)) == f"There is no command 'nope'. `{program()} commands` lists them."


NEEDY = {
    "name": "probe",
    "schema": {
        "properties": {
            "urls": {"type": "array", "items": {"type": "string"}},
            "region": {"enum": ["eu", "us"]},
            "day": {"type": "string", "format": "date"},
            "times": {"anyOf": [{"type": "integer", "minimum": 2}, {"type": "null"}]},
            "note": {"type": "string"},
        },
        "required": ["urls", "region", "day", "times"],
    },
}


def test_who_leaves_out_an_argument_is_told_how_the_command_is_typed() -> None:
    error = InvalidInput("probe needs urls.", field="args.urls")

    assert str(refused("probe", [NEEDY], error)).splitlines() == [
        "probe needs urls.",
        f"Usage: {program()} run probe urls=… region=… day=… times=… [note=…]",
        f"Example: {program()} run probe urls=https://example.com region=eu day=2026-12-01 times=2",
    ]


def test_the_example_of_a_usage_is_what_the_command_takes() -> None:
    example = usage(NEEDY).split(" run probe ")[-1]

    assert typed("probe", example.split(), [NEEDY])["urls"] == ["https://example.com"]


@pytest.mark.parametrize("word", ["urls=", "timeout_s=", "deep="])
def test_an_argument_with_nothing_behind_it_is_refused(word: str) -> None:
    with pytest.raises(InvalidInput, match="nothing stands behind the ="):
        typed("health", [word], COMMANDS)


def test_an_empty_text_is_a_text() -> None:
    assert typed("health", ["title="], COMMANDS) == {"title": ""}


def test_a_supervisor_counts_only_while_it_lives(tmp_path: Path) -> None:
    began = psutil.Process().create_time()

    assert not is_kept(tmp_path)
    assert is_kept(supervised(tmp_path, os.getpid(), began))
    assert not is_kept(supervised(tmp_path, os.getpid(), began - 60))
    assert not is_kept(supervised(tmp_path, 2**22 + 1, began))


def test_the_gateway_is_reached_directly_where_it_runs_and_by_its_public_address_elsewhere(tmp_path: Path) -> None:
    gateway = Gateway(host="0.0.0.0", port=8123, public_url="https://bell.example")
    settings = Settings(home=tmp_path, gateway=gateway)

    assert reach(settings) == "https://bell.example"
    supervised(tmp_path, os.getpid(), psutil.Process().create_time())
    assert reach(settings) == "http://127.0.0.1:8123"


def supervised(home: Path, pid: int, began: float) -> Path:
    """Write what a supervisor publishes."""
    (home / "run").mkdir(exist_ok=True)
    (home / "run" / "state.json").write_text(json.dumps({"supervisor_pid": pid, "supervisor_began": began}))
    return home


async def test_a_post_by_nobody_asked_is_shown(tmp_path: Path) -> None:
    text, _ = await shown(tmp_path, {**entry(7, "Good morning"), "message_id": None})

    assert text == "Good morning\n"


async def test_an_answer_that_came_while_the_connection_was_lost_ends_the_wait(tmp_path: Path) -> None:
    _, transcript = await shown(
        tmp_path, ACCEPTED, {"type": "lost", "attempt": 0}, {"type": "ready"}, entry(1, "Paris.")
    )

    await transcript.answered("e")


async def test_a_repeated_message_that_was_answered_meanwhile_ends_the_wait(tmp_path: Path) -> None:
    _, transcript = await shown(tmp_path, {"type": "ready"}, entry(1, "Paris."), ACCEPTED)

    await transcript.answered("e")


async def test_a_refused_message_ends_the_wait_and_counts_as_failed(tmp_path: Path) -> None:
    refused = {"type": "problem", "title": "The message was not accepted", "detail": "too long", "event_id": "e"}
    waiting = [ACCEPTED, refused]

    text, transcript = await shown(tmp_path, *waiting)

    assert "too long" in text
    assert transcript.failures == 1


def runbell(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RUNBELL_")}
    return subprocess.run(
        [RUNBELL, *arguments],
        cwd=cwd,
        env={**env, "PATH": os.defpath, "RUNBELL_HOME": str(cwd / "home"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_is_quick(tmp_path: Path) -> None:
    took = []
    for _ in range(3):
        began = time.process_time(), os.times().children_user
        assert runbell("--help", cwd=tmp_path).returncode == 0
        took.append(os.times().children_user - began[1])

    assert min(took) < 0.5


def test_help_of_send_says_that_a_refusal_is_an_answer(tmp_path: Path) -> None:
    told = " ".join(runbell("send", "--help", cwd=tmp_path).stdout.split())

    assert (
        "Exit status 0: answered, also where the answer is a refusal or a question; 1: failed; 2: wrong usage" in told
    )


@pytest.mark.parametrize("words", [["send", "hello"], ["commands"], ["chat"], ["run", "digest"], ["outbox", "list"]])
def test_without_a_running_installation_each_command_says_how_to_start(tmp_path: Path, words: list[str]) -> None:
    create_token(tmp_path / "home")

    ended = runbell(*words, cwd=tmp_path, RUNBELL_GATEWAY__PORT="9")

    assert ended.returncode == 1
    assert ended.stderr.strip() == f"Runbell is not up. Start it with: make up (or {RUNBELL} up)."


@pytest.mark.parametrize("words", [["send", "hello"], ["commands"], ["chat"]])
def test_another_server_in_the_gateways_place_is_told_from_runbell(tmp_path: Path, words: list[str]) -> None:
    create_token(tmp_path / "home")
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], cwd=tmp_path)
    try:
        while is_free("127.0.0.1", port):
            time.sleep(0.05)
        began = time.monotonic()
        ended = runbell(*words, cwd=tmp_path, RUNBELL_GATEWAY__PORT=str(port))
    finally:
        server.kill()
        server.wait()

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"What listens at http://127.0.0.1:{port} is not Runbell: it answers ")
    assert f"Runbell is not up. Start it with: make up (or {RUNBELL} up)." in ended.stderr
    assert time.monotonic() - began < 15


def test_status_without_a_running_installation_is_plain_and_json(tmp_path: Path) -> None:
    assert "Runbell is not up" in runbell("status", cwd=tmp_path).stdout
    ended = runbell("status", "--json", cwd=tmp_path)

    assert ended.returncode == 1
    assert '"overall": "down"' in ended.stdout


@pytest.mark.parametrize("words", [["send"], ["nonsense"], ["send", "--nope", "x"], ["run"]])
def test_wrong_usage_ends_with_status_2(tmp_path: Path, words: list[str]) -> None:
    assert runbell(*words, cwd=tmp_path).returncode == 2


def test_a_wrong_setting_of_the_environment_is_named(tmp_path: Path) -> None:
    ended = runbell("status", cwd=tmp_path, RUNBELL_GATEWAY__PORT="eighty")

    assert ended.returncode == 2
    assert ended.stderr.startswith("RUNBELL_GATEWAY__PORT in the environment: gateway.port: a whole number is")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"[gateway]\nport = = 1", ", line 2, column 8: Invalid value."),
        (b"[gateway]\nhost = 'a", ", end of document: Expected"),
        (b"[gateway]\nhost = '\xff'", ", line 2, column 9: this is not UTF-8."),
        (b"[gatway]\nport = 1", ": There is no setting 'gatway'. Did you mean 'gateway'?"),
        (b"[gateway]\nprt = 1", ": There is no setting 'gateway.prt'. Did you mean 'gateway.port'?"),
        (b"[channels.slack]\nbot_tokn = ''", "Did you mean 'channels.slack.bot_token'?"),
        (b"[channels.webhook.shop]\nsecrte = ''", "Did you mean 'channels.webhook.shop.secret'?"),
        (b"[memory]\nnonsense = 1", "There are: host, port, retention_days."),
        (b"gateway = 3", ": 'gateway' is a section: its settings stand below [gateway]."),
    ],
)
def test_a_broken_settings_file_is_named_with_the_place_and_the_remedy(tmp_path: Path, text: bytes, told: str) -> None:
    file = tmp_path / "runbell.toml"
    file.write_bytes(text)

    ended = runbell("status", cwd=tmp_path)

    assert ended.returncode == 2
    assert ended.stderr.startswith(str(file))
    assert told in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_setting_that_is_no_json_in_the_environment_is_named(tmp_path: Path) -> None:
    ended = runbell("status", cwd=tmp_path, RUNBELL_GATEWAY="{")

    assert ended.returncode == 2
    assert 'field "gateway"' in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["[gateway", "[gatway]\nport = 1"])
def test_down_goes_on_with_broken_settings(tmp_path: Path, text: str) -> None:
    (tmp_path / "runbell.toml").write_text(text)

    ended = runbell("down", cwd=tmp_path)

    assert ended.returncode == 0
    assert f"going on with RUNBELL_HOME={tmp_path / 'home'}" in ended.stderr
    assert "Runbell is down" in ended.stdout


def test_doctor_names_a_taken_port_and_its_remedy(tmp_path: Path) -> None:
    import socket

    (tmp_path / "workspace.yaml").write_text("load_from:\n  - python_module: orchestration.definitions\n")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        ended = runbell("doctor", cwd=tmp_path, RUNBELL_GATEWAY__PORT=str(port))

    assert ended.returncode == 1
    assert f"Port {port} is taken by" in ended.stdout
    assert f"RUNBELL_GATEWAY__PORT={port + 1}" in ended.stdout


def test_doctor_tells_two_settings_that_want_one_port(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from:\n  - python_module: orchestration.definitions\n")

    ended = runbell("doctor", cwd=tmp_path, RUNBELL_GATEWAY__PORT="8123", RUNBELL_SERVING__PORT="8123")

    assert ended.returncode == 1
    assert "gateway.port and serving.port are both 8123. Choose another for one: RUNBELL_SERVING__PORT" in ended.stdout


def test_doctor_knows_the_processes_that_a_killed_supervisor_left(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from:\n  - python_module: orchestration.definitions\n")
    port = free_port()
    env = {**os.environ, "RUNBELL_PROCESS": "gateway", "RUNBELL_HOME": str(tmp_path / "home")}
    left = subprocess.Popen([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], env=env)
    try:
        while is_free("127.0.0.1", port):
            time.sleep(0.05)
        ended = runbell("doctor", cwd=tmp_path, RUNBELL_GATEWAY__PORT=str(port))
    finally:
        left.kill()
        left.wait()

    assert f"gateway (still Runbell's own, pid {left.pid})" in ended.stdout
    assert "gone, but 1 processes still run\n    → `runbell up` takes over" in ended.stdout
    assert f"Port {port} is taken" not in ended.stdout


def test_up_refuses_a_taken_port_and_starts_nothing(tmp_path: Path) -> None:
    import socket

    (tmp_path / "workspace.yaml").write_text("load_from:\n  - python_module: orchestration.definitions\n")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        ended = runbell("up", cwd=tmp_path, RUNBELL_GATEWAY__PORT=str(port))

    assert ended.returncode == 1
    assert f"Port {port} is taken by" in ended.stderr
    assert not (tmp_path / "home" / "postgres").exists()


def test_up_without_a_workspace_says_where_to_run(tmp_path: Path) -> None:
    ended = runbell("up", cwd=tmp_path)

    assert ended.returncode == 1
    assert "workspace.yaml can't be read" in ended.stderr
