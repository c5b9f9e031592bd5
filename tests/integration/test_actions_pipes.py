"""Scripts that report by Dagster Pipes from behind their walls: what they say is in the run, and harms nobody."""

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from integrations import sandbox
from integrations.settings import Settings
from integrations.settings_actions import Actions, Scripts
from orchestration.actions import Outcome
from tests import acting

Ran = tuple[Outcome, list[dg.EventLogEntry]]
REPORTS = """
from dagster_pipes import open_dagster_pipes
FOUND = {"rows": 5, "page": {"raw_value": "https://x", "type": "url"}}
FOUND["trap"] = {"raw_value": "javascript:alert(1)", "type": "url"}
with open_dagster_pipes() as pipes:
    pipes.log.warning("low on %s", "stock")
    pipes.report_custom_message({"rows": [1, 2]})
    pipes.report_asset_materialization(asset_key="shop/orders", metadata=FOUND)
    pipes.report_asset_check(asset_key="shop/orders", check_name="fresh", passed=False, severity="WARN", metadata={})
    print(pipes.run_id)
"""
SAYS = """
import base64, json, os, zlib
place = json.loads(zlib.decompress(base64.b64decode(os.environ["DAGSTER_PIPES_MESSAGES"])))["path"]
def say(line):
    with open(place, "ab", buffering=0) as file:
        file.write(line if isinstance(line, bytes) else json.dumps({"method": "log", "params": line}).encode() + b"\\n")
"""


@pytest.fixture(scope="module", autouse=True)
def walls() -> None:
    assert sandbox.available(), "bubblewrap is missing or may not work: apt-get install bubblewrap"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Ran]:
    """Run a script in an op; return its outcome and the run's events."""

    def run(code: str, **bounds: object) -> Ran:
        (tmp_path / "script.py").write_text(code)
        settings = Settings(actions=Actions(scripts=Scripts.model_validate({"folder": tmp_path, **bounds})))
        outcomes: list[Outcome] = []

        @dg.op
        def act() -> None:
            outcomes.append(acting.act("run_script", settings, {"script": "script.py"}))

        @dg.job
        def job() -> None:
            act()

        with dg.DagsterInstance.ephemeral() as instance:
            ended = job.execute_in_process(instance=instance, raise_on_error=False)
            entries = list(instance.all_logs(ended.run_id))
        return (outcomes or [Outcome(text="", data={"failed": True})])[0], entries

    return run


def logged(entries: list[dg.EventLogEntry]) -> list[tuple[int, str]]:
    return [(entry.level, entry.user_message) for entry in entries if not entry.is_dagster_event]


def test_what_a_script_reports_is_in_the_run(run: Callable[..., Ran]) -> None:
    outcome, entries = run(REPORTS)

    assert outcome.text == entries[0].run_id
    assert outcome.data["messages"] == [{"rows": [1, 2]}]
    assert (30, "low on stock") in logged(entries)
    assert (20, 'The script reported: {"rows": [1, 2]}') in logged(entries)
    assert (30, "The script reported on fresh: {'passed': False}") in logged(entries)
    (output,) = (
        e.get_dagster_event() for e in entries if e.is_dagster_event and e.get_dagster_event().is_successful_output
    )
    assert output.event_specific_data.metadata == {
        "shop/orders: rows": dg.MetadataValue.int(5),
        "shop/orders: page": dg.MetadataValue.url("https://x"),
        "shop/orders: trap": dg.MetadataValue.text("javascript:alert(1)"),
        "fresh: passed": dg.MetadataValue.bool(False),
    }
    # A script speaks of itself: no asset counts as made because it says so.
    assert not any(entry.is_dagster_event and entry.get_dagster_event().is_step_materialization for entry in entries)


def test_a_script_that_does_not_report_is_as_it_was(run: Callable[..., Ran]) -> None:
    outcome, entries = run("import os; print(os.listdir())")

    assert outcome.text == "['script.py']"
    assert outcome.data["messages"] == []
    assert logged(entries) == []


def test_one_module_more_can_be_seen_and_nothing_of_ours(run: Callable[..., Ran]) -> None:
    code = """
import os, sys
print(os.listdir("/modules"), "/modules" in sys.path)
for name in ("dagster", "pydantic", "integrations"):
    try: __import__(name); print("there is", name)
    except ImportError: pass
try: open("/modules/dagster_pipes/x", "w"); print("written")
except OSError: print("no")
"""
    assert run(code)[0].text == "['dagster_pipes'] True\nno"


def test_hostile_messages_are_left_out_and_the_run_goes_on(run: Callable[..., Ran]) -> None:
    hostile = """
say(b"no json\\n")
say(b'{"method": "launch", "params": {}}\\n')
say(b'{"method": "log", "params": []}\\n')
say(b"[" * 100_000 + b"\\n")
say({"message": "nul \\0"})
say({"message": "lone \\ud800"})
say(b'{"method": "report_custom_message", "params": {"payload": NaN}}\\n')
say(b"\\xff\\xfe\\n")
say(b'{"method": "report_asset_check", "params": {"check_name": 7, "passed": "yes", "metadata": [1]}}\\n')
say({"message": "fine", "level": "LOUD"})
say({"message": "%s %d", "level": "error"})
say(b"no end")
print("done")
"""
    outcome, entries = run(SAYS + hostile)

    assert outcome.text == "done"
    assert [text for _, text in logged(entries) if "no message" not in text][1:] == ["fine", "%s %d"]
    assert sum("no message" in text for _, text in logged(entries)) == 8
    assert len(json.dumps(outcome.data)) < 1_000


def test_messages_are_bounded_in_number_and_in_size(run: Callable[..., Ran]) -> None:
    many, entries = run(SAYS + 'for n in range(1500): say({"message": str(n)})\nsay({"message": "x"})\nprint("done")')

    assert many.text == "done"
    assert len(logged(entries)) == 1_001
    assert "more than 1000 messages" in logged(entries)[-1][1]

    long, entries = run(SAYS + 'say({"message": "x" * 50_000})\nwhile True: say(b"y" * 4096)', output_bytes=200_000)

    assert long.data == {"failed": True}
    assert max(len(text) for _, text in logged(entries)) < 25_000
    (failed,) = (e.get_dagster_event() for e in entries if e.is_dagster_event and e.get_dagster_event().is_step_failure)
    assert "said more than 200000 bytes" in str(failed.step_failure_data.error)
