"""JSON log lines, as a process of its own writes them to stderr."""

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from integrations.errors import Misconfigured
from integrations.telemetry import setup


def run(body: str, *, level: str = "INFO") -> list[dict[str, Any]]:
    """Return the log lines of a process that sets telemetry up and runs this."""
    program = f"""
import asyncio, logging, sys, threading, warnings
from integrations import telemetry
telemetry.setup("gateway", log_level={level!r})
log = logging.getLogger("runbell.test")
{textwrap.dedent(body)}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_says_when_where_and_in_which_trace():
    (line,) = run("""
        with telemetry.span("op", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
            log.info("answered %s in %d ms", "m1", 12, extra={"message_id": "m1", "ms": 12})
    """)

    assert line["time"].endswith("+00:00")
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert len(line["span_id"]) == 16
    assert {key: line[key] for key in ("level", "logger", "message", "service", "message_id", "ms")} == {
        "level": "INFO", "logger": "runbell.test", "message": "answered m1 in 12 ms", "service": "gateway",
        "message_id": "m1", "ms": 12,
    }  # fmt: skip


def test_chinese_stays_readable_and_odd_text_breaks_nothing():
    lines = run(r"""
        log.info("你好 %s", "world\nsecond line")
        log.info("half a pair %s", "\ud83d", extra={"object": object(), "bytes": b"\xff"})
    """)

    assert lines[0]["message"] == "你好 world\nsecond line"
    assert lines[1]["message"].startswith("half a pair")


def test_message_text_is_kept_at_debug_only():
    lines = run(
        """
        log.info("received", extra={"text": "private", "message_id": "m1"})
        log.debug("received", extra={"text": "private"})
        """,
        level="DEBUG",
    )

    mine = [line for line in lines if line["logger"] == "runbell.test"]
    assert ["text" in line for line in mine] == [False, True]


def test_secrets_are_masked_in_messages_extras_and_tracebacks():
    lines = run("""
        log.info("to postgresql://u:hunter22@h/d", extra={"token": "hunter22", "deep": {"password": "hunter22"}})
        try:
            raise ValueError("Bearer hunter22hunter22")
        except ValueError:
            log.exception("failed with %s", "whsec_hunter22")
    """)

    assert "hunter22" not in json.dumps(lines)
    assert "ValueError" in lines[1]["exception"]


def test_crashes_threads_and_warnings_are_log_lines_too():
    lines = run("""
        thread = threading.Thread(target=lambda: 1 / 0, name="pump")
        thread.start(); thread.join()
        warnings.warn("old thing", stacklevel=1)
        raise RuntimeError("whsec_hunter22")
    """)

    assert [line["level"] for line in lines] == ["ERROR", "WARNING", "CRITICAL"]
    assert "pump" in lines[0]["message"]
    assert "old thing" in lines[1]["message"]
    assert "RuntimeError" in lines[2]["exception"]
    assert "hunter22" not in json.dumps(lines)


def test_setting_up_twice_writes_each_line_once():
    lines = run("""
        telemetry.setup("again", log_level="DEBUG")
        log.debug("hidden")
        log.info("once")
    """)

    assert [(line["message"], line["service"]) for line in lines] == [("once", "gateway")]


def test_no_library_speaks_of_its_requests():
    assert run('logging.getLogger("httpx").info("HTTP Request: GET https://x/?token=1")') == []


def test_an_unknown_level_is_refused():
    with pytest.raises(Misconfigured, match="log_level"):
        setup("test", log_level="LOUD")


def test_an_endpoint_that_is_no_url_is_refused():
    (line,) = run("""
        from integrations.telemetry import traces
        traces.configure("x", "collector:4318")
    """)

    assert "otlp_endpoint must begin with http" in line["exception"]
