"""Logs: rotated, wrapped, without secrets; and the board that is read while it is written."""

import asyncio
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from orchestration.supervise.board import Board, Row, Snapshot, read_board
from orchestration.supervise.output import Output, RotatingFile
from orchestration.supervise.screen import Screen
from orchestration.supervise.status import ProcessStatus, Status
from orchestration.terminal.reports import show_status

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


opened: list[RotatingFile] = []


@pytest.fixture(autouse=True)
def _close_logs() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


def an_output(path: Path, *secrets: str, limit: int = 1_000_000) -> Output:
    opened.append(RotatingFile(path, limit=limit, keep=3))
    return Output("chroma", opened[-1], now=lambda: NOON, secrets=secrets)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_others_print_becomes_json_without_colours(tmp_path: Path) -> None:
    output = an_output(tmp_path / "log")

    output.say("\x1b[2mListening\x1b[0m on 8000")

    assert lines(tmp_path / "log") == [
        {"time": "2026-01-02T12:00:00.000+00:00", "service": "chroma", "message": "Listening on 8000"}
    ]


def test_json_lines_pass_as_they_are(tmp_path: Path) -> None:
    output = an_output(tmp_path / "log")

    output.say('{"message": "你好", "level": "INFO"}')

    assert lines(tmp_path / "log") == [{"message": "你好", "level": "INFO"}]
    assert output.last == "你好"


def test_known_secrets_are_masked_even_inside_json(tmp_path: Path) -> None:
    output = an_output(tmp_path / "log", "s3cr3t-token-value")

    output.say('{"message": "GET /?t=s3cr3t-token-value"}')
    output.say("connecting to postgresql://me:hunter2hunter2@db/x")

    written = (tmp_path / "log").read_text()
    assert "s3cr3t-token-value" not in written
    assert "hunter2" not in written


def test_a_log_is_rotated_by_size_and_the_oldest_goes(tmp_path: Path) -> None:
    output = an_output(tmp_path / "log", limit=300)

    for number in range(30):
        output.say(f"line {number:04}")

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["log", "log.1", "log.2", "log.3"]
    assert all(path.stat().st_size <= 300 for path in tmp_path.iterdir())
    assert "line 0029" in (tmp_path / "log").read_text()


def test_logs_are_private(tmp_path: Path) -> None:
    an_output(tmp_path / "log").say("hello")

    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


async def test_a_line_without_an_end_is_cut_and_nothing_is_lost_after_it(tmp_path: Path) -> None:
    output, stream = an_output(tmp_path / "log"), asyncio.StreamReader()
    stream.feed_data(b"x" * 200_000 + b"\nnext\nlast")
    stream.feed_eof()

    await output.pump(stream)

    messages = [str(line["message"]) for line in lines(tmp_path / "log")]
    assert messages[-2:] == ["next", "last"]


def test_a_full_disk_is_told_and_does_not_stop_the_speaker(tmp_path: Path) -> None:
    class Full(RotatingFile):
        def write(self, line: str) -> None:
            raise OSError(28, "No space left on device")

    opened.append(Full(tmp_path / "log", limit=1000, keep=1))
    output = Output("chroma", opened[-1], now=lambda: NOON)

    output.say("hello")

    assert output.problem == "its log can't be written: No space left on device"


def test_a_board_comes_back_as_it_was_published(tmp_path: Path) -> None:
    snapshot = Snapshot(supervisor_pid=7, phase="ready", rows={"ray": Row("ray", state="ready", pid=8, port=9)})

    Board(tmp_path / "state.json", snapshot).publish(now=10.0)

    assert read_board(tmp_path / "state.json") == snapshot


def test_a_damaged_board_is_no_board(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"supervisor_pid": 7, "rows": {"ray": {"unknown": 1}}}')

    assert read_board(tmp_path / "state.json") is None
    assert read_board(tmp_path / "missing.json") is None


def test_a_start_tells_of_a_step_what_it_does_and_when_it_is_done() -> None:
    told = io.StringIO()
    screen = Screen(Console(file=told))
    step = Row("readiness", kind="step", state="starting", began_at=1.0)
    screen.show(Snapshot(rows={"readiness": step}))
    assert told.getvalue() == ""

    step.detail = "waiting for the models to load"
    screen.show(Snapshot(rows={"readiness": step}))
    step.state, step.detail, step.ready_at = "done", "", 3.5
    screen.show(Snapshot(rows={"readiness": step}))

    begun, done = told.getvalue().splitlines()
    assert begun.endswith("waiting for the models to load")
    assert done == "readiness      done 2.5 s"


def test_status_says_why_something_was_started_again(capsys: pytest.CaptureFixture[str]) -> None:
    ray = ProcessStatus("ray", "ready", healthy=True, restarts=1, died="ended with status 1: the node timed out")

    show_status(Status("ready", "/home", rows=(ray, ProcessStatus("gateway", "ready", healthy=True))))

    shown = capsys.readouterr().out
    assert "ray was started again (ended with status 1: the node timed out)" in shown
    assert "gateway was started again" not in shown
