"""Captured stdout and stderr: shown while the run executes, kept per run, bounded, removed with the run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from orchestration.warm import logs
from orchestration.warm.internals import ComputeIOType
from orchestration.warm.logs import OpLogs
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]

OUT, ERR = ComputeIOType.STDOUT, ComputeIOType.STDERR


@pytest.fixture
def manager(warm: WarmHome) -> OpLogs:
    manager = warm.instance.compute_log_manager
    assert isinstance(manager, OpLogs)
    return manager


@contextmanager
def capturing(manager: OpLogs, key: list[str]) -> Iterator[None]:
    """Capture as in a worker; pytest puts streams of its own in place for each phase of a test."""
    logs.install()
    with manager.capture_logs(key):
        yield


def text(manager: OpLogs, key: list[str], kind: ComputeIOType = OUT, offset: int = 0) -> str:
    data, _ = manager.get_log_data_for_type(key, kind, offset, None)
    return (data or b"").decode()


def test_what_is_printed_is_shown_while_the_block_goes_on(manager: OpLogs) -> None:
    key = ["run", "compute_logs", "a"]
    with capturing(manager, key):
        print("first 你好")  # noqa: T201 - captured
        sys.stderr.write("problem\n")
        eventually(lambda: text(manager, key) == "first 你好\n", "the text is shown", 5)
        eventually(lambda: text(manager, key, ERR) == "problem\n", "the problem is shown", 5)
        assert not manager.is_capture_complete(key)
    print("not captured")  # noqa: T201 - goes to the process's own output

    assert manager.is_capture_complete(key)
    assert text(manager, key) == "first 你好\n"


def test_a_reader_goes_on_where_it_stopped(manager: OpLogs) -> None:
    key = ["run", "compute_logs", "a"]
    with capturing(manager, key):
        for number in range(5_000):
            print(f"line {number}")  # noqa: T201 - captured

    whole, read, offset = text(manager, key), b"", 0
    while True:
        data, offset = manager.get_log_data_for_type(key, OUT, offset, 1_000)
        if not data:
            break
        read += data

    assert read.decode() == whole
    assert whole.splitlines()[-1] == "line 4999"


def test_a_subscriber_gets_everything_and_the_end(manager: OpLogs) -> None:
    key, got = ["run", "compute_logs", "a"], bytearray()
    subscription = manager.subscribe(key)
    subscription(lambda data: got.extend(data.stdout or b""))
    with capturing(manager, key):
        print("one")  # noqa: T201 - captured
        eventually(lambda: got == b"one\n", "the first line arrives", 10)
        print("two")  # noqa: T201 - captured

    eventually(lambda: subscription.is_complete, "the end arrives", 10)
    assert got == b"one\ntwo\n"


def test_endless_output_is_cut_with_a_note(manager: OpLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "STREAM_BYTES", 10_000)
    key = ["run", "compute_logs", "a"]
    with capturing(manager, key):
        for _ in range(1_000):
            print("x" * 99)  # noqa: T201 - captured

    shown = text(manager, key)
    assert len(shown) < 10_100
    assert shown.endswith("[the rest was cut]\n")


def test_logs_go_with_their_run(manager: OpLogs) -> None:
    for name in ("a", "b"):
        with capturing(manager, ["run", "compute_logs", name]):
            print(name)  # noqa: T201 - captured
    with capturing(manager, ["other", "compute_logs", "c"]):
        print("kept")  # noqa: T201 - captured
    assert manager.get_log_keys_for_log_key_prefix(["run", "compute_logs"], OUT) == [
        ["run", "compute_logs", "a"],
        ["run", "compute_logs", "b"],
    ]

    manager.delete_logs(prefix=["run"])

    assert text(manager, ["run", "compute_logs", "a"]) == ""
    assert text(manager, ["other", "compute_logs", "c"]) == "kept\n"
