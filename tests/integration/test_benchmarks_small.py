"""Benchmarks at small size, whole: what they report is there, and right as far as it is not a time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(400)


def run(name: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, f"benchmarks/{name}.py", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=390)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_sessions_get_each_word_once_while_commands_are_answered():
    small = ("--sessions", "4", "--seconds", "1.5", "--arrive", "0.2", "--idle", "1", "--words", "12", "--per-s", "20")

    results = run("sessions", *small, "--workers", "1")

    assert results["sessions"]["wrong"] == []
    assert results["sessions"]["answers"] >= 4
    assert results["streaming"]["accepted"] > 0


def test_the_benchmark_for_gpus_runs_whole_on_a_cpu():
    pytest.importorskip("transformers", reason="make transformers")

    results = run("serving_gpu", "--concurrency", "1,2", "--words", "16", "--tokens", "8")

    assert results["greedy_as_generate"] == "4 of 4"
    for way in ("alone", "handle", "http"):
        assert {level: found["tokens"] for level, found in results[way].items()} == {"1": 8, "2": 16}
