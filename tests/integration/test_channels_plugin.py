"""The pytest plugin around the simulators works in a project that is not ours, as docs/testing-channels.md says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from integrations.channels.simulators.plugin import names, simulator

GUIDE = Path(__file__).parents[2] / "docs" / "testing-channels.md"


def test_every_simulated_network_is_found_by_its_name() -> None:
    assert names() == [
        "dingtalk", "discord", "email", "feishu", "slack", "teams", "telegram", "wecom", "wecom_robot",
    ]  # fmt: skip


def test_an_unknown_network_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(LookupError, match="there are dingtalk, discord"):
        simulator("irc")


def test_the_guides_example_passes_in_a_foreign_project(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n# test_bell.py\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (tmp_path / "test_bell.py").write_text(example)

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )

    assert ended.returncode == 0, ended.stdout
    assert "3 passed" in ended.stdout
