"""JSON log lines: one object per line, with the trace they belong to and without secrets.

The supervisor pumps a process's stderr into rotated files, so nothing is written elsewhere. Pass ids as
`extra={"message_id": …}`. Message text is an extra called `text`, which only DEBUG lines keep.
"""

import logging
import sys
import threading
from types import TracebackType
from typing import TextIO

from pythonjsonlogger.core import LogData
from pythonjsonlogger.json import JsonFormatter

from integrations.errors import Misconfigured
from integrations.telemetry.redaction import is_private, redact, redact_value
from integrations.telemetry.traces import current_ids

_CHATTY = ("httpx", "httpcore", "chromadb", "urllib3", "asyncio", "opentelemetry", "matplotlib")
_FIXED = frozenset({"time", "level", "logger", "message", "service", "trace_id", "span_id"})
_log = logging.getLogger("runbell.crash")


class JsonLines(JsonFormatter):
    """One JSON object per record."""

    def __init__(self, service: str) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            timestamp="time",
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            static_fields={"service": service},
            json_ensure_ascii=False,
        )

    def add_fields(self, log_data: LogData, record: logging.LogRecord, message_dict: dict[str, object]) -> None:
        """Add the ids of the current span, and leave message text out above DEBUG."""
        super().add_fields(log_data, record, message_dict)
        if ids := current_ids():
            log_data["trace_id"], log_data["span_id"] = ids
        if record.levelno > logging.DEBUG:
            for name in [name for name in log_data if is_private(name)]:
                del log_data[name]

    def process_log_record(self, log_data: LogData) -> LogData:
        """Mask secrets, and put the fields that every line has first."""
        moment = log_data.pop("time")
        shown = {"time": moment.isoformat(timespec="milliseconds")}
        for name, value in log_data.items():
            shown[name] = redact(value) if name in _FIXED and isinstance(value, str) else redact_value(name, value)
        return shown

    def serialize_log_record(self, log_data: LogData) -> str:
        """Return the line; a lone surrogate must not stop the stream's encoder."""
        return super().serialize_log_record(log_data).encode("utf-8", "backslashreplace").decode()


def check_level(level: str) -> int:
    """Return the level's number. Raises `Misconfigured` where there is none of that name."""
    known = logging.getLevelNamesMapping()
    if level.upper() not in known:
        raise Misconfigured(f"telemetry.log_level must be one of DEBUG, INFO, WARNING, ERROR, not {level!r}")
    return known[level.upper()]


def configure(service: str, level: str, stream: TextIO) -> None:
    """Make the root logger write JSON lines to `stream`, crashes included; `setup` calls it."""
    number = check_level(level)
    root = logging.getLogger()
    for present in list(root.handlers):
        # A second handler on the console would write every line twice, once with its secrets.
        if type(present) is logging.StreamHandler:
            root.removeHandler(present)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(service))
    root.addHandler(handler)
    root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook = _crashed
    threading.excepthook = _thread_crashed


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    _log.critical("the process ends: %s", kind.__name__, exc_info=(kind, error, trace))


def _thread_crashed(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_value is None or issubclass(crash.exc_type, SystemExit):
        return
    name = crash.thread.name if crash.thread else "unknown"
    _log.error("thread %s ended", name, exc_info=(crash.exc_type, crash.exc_value, crash.exc_traceback))
