"""Traces, logs and metrics; serving uses this package too, so it depends on nothing of ours but errors."""

from integrations.telemetry.setup import flush, setup
from integrations.telemetry.traces import (
    capture,
    current_traceparent,
    new_traceparent,
    span,
    trace_id_of,
)

__all__ = ["capture", "current_traceparent", "flush", "new_traceparent", "setup", "span", "trace_id_of"]
