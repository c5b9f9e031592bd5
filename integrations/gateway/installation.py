"""An installation as the command line sees it: what to type here, and whether a supervisor keeps it running."""

import json
import os
import shutil
import sys
from pathlib import Path

import psutil

from integrations.settings import Settings

NAME = "runbell"


def program() -> str:
    """Return what starts our command line when it is typed in this folder."""
    if shutil.which(NAME):
        return NAME
    script = Path(sys.executable).with_name(NAME)
    here = Path.cwd()
    return os.fspath(script.relative_to(here) if script.is_relative_to(here) else script)


def reach(settings: Settings) -> str:
    """Return where the gateway is reached from here: directly where it runs, by its public address elsewhere."""
    gateway = settings.gateway
    if gateway.public_url is None or not is_kept(settings.state):
        return settings.gateway_url
    host = gateway.host if gateway.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104 - it is not bound here
    return f"http://{f'[{host}]' if ':' in host else host}:{gateway.port}"


def is_kept(home: Path) -> bool:
    """Whether the supervisor that wrote RUNBELL_HOME/run/state.json lives: it starts again what died."""
    try:
        state = json.loads((home / "run" / "state.json").read_text(encoding="utf-8"))
        began = psutil.Process(state["supervisor_pid"]).create_time()
        # Another process may have got its number meanwhile.
        return abs(began - state["supervisor_began"]) < 2
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return False
