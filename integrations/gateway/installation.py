"""An installation as the command line sees it: what to type here, and whether a supervisor keeps it running."""

import json
import os
import shutil
import sys
from pathlib import Path

import psutil

NAME = "runbell"


def program() -> str:
    """Return what starts our command line when it is typed in this folder."""
    if shutil.which(NAME):
        return NAME
    script = Path(sys.executable).with_name(NAME)
    here = Path.cwd()
    return os.fspath(script.relative_to(here) if script.is_relative_to(here) else script)


def is_kept(home: Path) -> bool:
    """Whether the supervisor that wrote RUNBELL_HOME/run/state.json lives: it starts again what died."""
    try:
        state = json.loads((home / "run" / "state.json").read_text(encoding="utf-8"))
        began = psutil.Process(state["supervisor_pid"]).create_time()
        # Another process may have got its number meanwhile.
        return abs(began - state["supervisor_began"]) < 2
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return False
