"""The Ray head of one machine: loopback only, every process with the token, no dashboard.

`serving.head` is `ray start` without the two helpers that nobody here uses; they double the start-up time.
"""

import os
import shutil
from pathlib import Path

from orchestration.supervise.ports import free_port
from orchestration.supervise.spec import python

IN_ONE_LOOP = {
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
}
"""A request and each piece of its answer stay in the event loop that asked: by Ray's own word they cross into another
thread's at both ends, which costs nearly as much again."""
KEEP_SESSIONS = 2
NODE_S = 90
"""Seconds that a node has to join; by Ray's own word 30, which a busy machine with two cores overran."""


def command(temp: Path, port: int) -> tuple[str, ...]:
    """Return the command line; `temp` must be short enough for the names of unix sockets."""
    return (
        *python("serving.head"),
        *("start", "--head", "--block", "--disable-usage-stats", "--log-style=record", "--log-color=false"),
        *("--port", str(port), "--node-ip-address", "127.0.0.1", "--temp-dir", str(temp)),
        # Actors here mostly wait; a machine with few cores must not refuse to place them.
        *("--num-cpus", str(max(8, os.cpu_count() or 1)), "--object-store-memory", str(100 * 1024 * 1024)),
        *("--include-dashboard", "false", "--include-log-monitor", "false", "--no-monitor"),
        # Fixed defaults of Ray would meet a second installation on the same machine.
        *("--ray-client-server-port", str(free_port()), "--dashboard-agent-listen-port", "0"),
        *("--min-worker-port", "0", "--max-worker-port", "0"),
    )


def environment(address: str, token: Path) -> dict[str, str]:
    """Return what every process that talks to Ray must have."""
    return {
        "RAY_ADDRESS": address,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        # Undocumented on Linux: keeps every core socket on 127.0.0.1.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # Ray's workers are our models and warm workers: Ray would run them behind everything else (niceness 15).
        "RAY_worker_niceness": "0",
        **IN_ONE_LOOP,
        "RAY_raylet_start_wait_time_s": str(NODE_S),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        # Workers would print a warning each about the accelerator variable.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


def prepare(temp: Path) -> None:
    """Forget which session was the last, and keep only the newest ones' logs; each start makes a new folder."""
    (temp / "session_latest").unlink(missing_ok=True)
    sessions = sorted(path for path in temp.glob("session_2*") if path.is_dir() and not path.is_symlink())
    for old in sessions[: -KEEP_SESSIONS or None]:
        shutil.rmtree(old, ignore_errors=True)
