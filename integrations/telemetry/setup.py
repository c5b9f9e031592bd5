"""Switching telemetry on, once per process, before its first log line."""

import sys
import threading
from typing import TextIO

from integrations.telemetry import logs, traces

_lock = threading.Lock()
_services: list[str] = []


def setup(
    service: str, *, log_level: str = "INFO", otlp_endpoint: str | None = None, stream: TextIO | None = None
) -> None:
    """Write JSON logs to `stream` (stderr) and export spans to `otlp_endpoint`, the collector's base URL.

    Without an endpoint nothing leaves the process, but spans still get ids, so that logs and run tags carry
    the trace id. Only the first call in a process counts; raises `Misconfigured` for an unknown level.
    """
    logs.check_level(log_level)
    with _lock:
        if _services:
            return
        logs.configure(service, log_level, stream or sys.stderr)
        traces.configure(service, otlp_endpoint)
        _services.append(service)


def flush(timeout_s: float = 5.0) -> bool:
    """Send the spans that wait, blocking; a process that may be killed calls it. False: not all were sent."""
    return traces.flush(timeout_s)
