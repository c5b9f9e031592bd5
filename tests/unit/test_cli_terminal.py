"""The command line without a server: arguments, the transcript, plain errors, quick help."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from integrations.errors import InvalidInput
from integrations.gateway.live import Frame, LiveChat
from integrations.security.tokens import create_token
from orchestration.terminal.arguments import typed
from orchestration.terminal.transcript import Transcript

RUNBELL = Path(sys.executable).with_name("runbell")
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
    transcript = Transcript(Told(home, *frames), written.append, colours=False)
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
        env={**env, "RUNBELL_HOME": str(cwd / "home"), **environment},
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


@pytest.mark.parametrize("words", [["send", "hello"], ["commands"], ["chat"], ["run", "digest"], ["outbox", "list"]])
def test_without_a_running_installation_each_command_says_how_to_start(tmp_path: Path, words: list[str]) -> None:
    create_token(tmp_path / "home")

    ended = runbell(*words, cwd=tmp_path, RUNBELL_GATEWAY__PORT="9")

    assert ended.returncode == 1
    assert ended.stderr.strip() == "Runbell is not up. Start it with: make up (or runbell up)."


def test_status_without_a_running_installation_is_plain_and_json(tmp_path: Path) -> None:
    assert "Runbell is not up" in runbell("status", cwd=tmp_path).stdout
    ended = runbell("status", "--json", cwd=tmp_path)

    assert ended.returncode == 1
    assert '"overall": "down"' in ended.stdout


@pytest.mark.parametrize("words", [["send"], ["nonsense"], ["send", "--nope", "x"], ["run"]])
def test_wrong_usage_ends_with_status_2(tmp_path: Path, words: list[str]) -> None:
    assert runbell(*words, cwd=tmp_path).returncode == 2


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    ended = runbell("status", cwd=tmp_path, RUNBELL_GATEWAY__PORT="eighty")

    assert ended.returncode == 2
    assert "gateway.port" in ended.stderr
    assert "Traceback" not in ended.stderr


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
