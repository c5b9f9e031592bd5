"""Scripts that report with `dagster_pipes`: what they say appears in the run whose op runs them.

Dagster's own sessions trust what they read, and warn of each program that says nothing. A script is not trusted, and
need not say anything; so its messages are read here: bounded in number and size, each looked at before it is shown, and
what is none is told as a warning. A script can report about itself only: no asset is marked as made by its word.
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import dagster as dg
import dagster_pipes
from pydantic import BaseModel, JsonValue, ValidationError

from integrations.errors import InvalidInput
from integrations.reports import Reports
from integrations.security.text import check_value, clean
from orchestration.hiding import hidden, secrets_here

MOST_MESSAGES = 1_000
MOST_METADATA = 100
"""Entries of metadata that are shown on an op's output."""
LONGEST = 20_000
"""Characters of one log message, or of one text of metadata."""
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class _Said(BaseModel):
    """One message of the protocol, as far as it is read here."""

    method: Literal[
        "opened", "closed", "log", "report_custom_message", "report_asset_materialization", "report_asset_check",
        "log_external_stream",
    ]  # fmt: skip
    params: dict[str, JsonValue] | None = None


class Pipes:
    """What one script reports to the op that runs it. `environment` and `reports` are what it needs for that."""

    def __init__(self, context: dg.OpExecutionContext, modules: Path) -> None:
        self.reports = Reports(self._hear, modules)
        self.said: list[JsonValue] = []
        """The custom messages, in their order."""
        self._context = context
        self._secrets = secrets_here()
        self._count = self._shown = 0

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which `open_dagster_pipes` finds what it is part of."""
        told = {
            "asset_keys": None,
            "code_version_by_asset_key": None,
            "provenance_by_asset_key": None,
            "partition_key": None,
            "partition_key_range": None,
            "partition_time_window": None,
            "run_id": self._context.run_id,
            "job_name": self._context.job_name,
            "retry_number": self._context.retry_number,
            "extras": {},
        }
        params = {
            dagster_pipes.DAGSTER_PIPES_CONTEXT_ENV_VAR: {"data": told},
            dagster_pipes.DAGSTER_PIPES_MESSAGES_ENV_VAR: {"path": self.reports.path},
        }
        return {name: dagster_pipes.encode_param(value) for name, value in params.items()}

    def _hear(self, line: bytes) -> None:
        self._count += 1
        if self._count > MOST_MESSAGES:
            if self._count == MOST_MESSAGES + 1:
                told = "The script reported more than %d messages; the rest is not shown."
                self._context.log.warning(told, MOST_MESSAGES)
            return
        try:
            said = _Said.model_validate(hidden(_read(line), self._secrets))
            self._show(said.method, said.params or {})
        except (InvalidInput, ValidationError, ValueError, RecursionError):
            self._context.log.warning("The script reported what is no message of Dagster Pipes; it is not shown.")

    def _show(self, method: str, params: Mapping[str, JsonValue]) -> None:
        log = self._context.log
        if method == "log":
            level = _LEVELS.get(str(params.get("level", "info")).lower(), logging.INFO)
            log.log(level, "%s", _text(params.get("message")))
        elif method == "report_custom_message":
            self.said.append(params.get("payload"))
            log.info("The script reported: %s", _text(json.dumps(params.get("payload"), ensure_ascii=False)))
        elif method == "closed" and isinstance(problem := params.get("exception"), dict):
            log.error("The script ended with %s: %s", _text(problem.get("name")), _text(problem.get("message")))
        elif method in ("report_asset_materialization", "report_asset_check"):
            self._told(_text(params.get("check_name") or params.get("asset_key"))[:200], params)

    def _told(self, name: str, params: Mapping[str, JsonValue]) -> None:
        """Show a report on the op's output, where it has one; in the log in any case."""
        found = _metadata(params.get("metadata"))
        if "passed" in params:
            found["passed"] = dg.MetadataValue.bool(params["passed"] is True)
        level = logging.WARNING if params.get("passed") is False else logging.INFO
        self._context.log.log(
            level, "The script reported on %s: %s", name, _text({k: v.value for k, v in found.items()})
        )
        self._shown += len(found)
        if self._shown <= MOST_METADATA and len(self._context.op_def.output_defs) == 1:
            self._context.add_output_metadata({f"{name}: {key}": value for key, value in found.items()})


@contextmanager
def piped() -> Generator[Pipes | None]:
    """Give what a script needs to report to the op that the calling thread executes; None where it executes none."""
    try:
        context = dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="runbell-modules-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        # A copy, so that the script sees this one module, and can read it however strictly ours are installed.
        source = Path(dagster_pipes.__file__).parent
        shutil.copytree(source, folder / source.name)
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        pipes = Pipes(context, folder)
        with closing(pipes.reports):
            yield pipes


def _read(line: bytes) -> object:
    value = json.loads(line.decode("utf-8"))
    check_value(value, field="message")
    return value


def _text(value: object) -> str:
    text = clean(value if isinstance(value, str) else str(value))
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _metadata(value: JsonValue) -> dict[str, dg.MetadataValue]:
    """Return what the script said of itself, as the UI shows it; an unknown kind is shown as JSON."""
    entries = list(value.items())[:MOST_METADATA] if isinstance(value, dict) else []
    return {_text(name)[:200]: _shown(cast("Any", said)) for name, said in entries}


def _shown(said: JsonValue) -> dg.MetadataValue:
    raw, kind = (said.get("raw_value"), said.get("type")) if isinstance(said, dict) else (said, None)
    if kind == "url" and not str(raw).startswith(("https://", "http://")):
        kind = "text"  # a link to `javascript:` would be run by whoever watches
    if isinstance(raw, str):
        make = {"url": dg.MetadataValue.url, "md": dg.MetadataValue.md, "path": dg.MetadataValue.path}
        return make.get(str(kind), dg.MetadataValue.text)(_text(raw))
    if isinstance(raw, bool):
        return dg.MetadataValue.bool(raw)
    if isinstance(raw, int) and abs(raw) < 2**53:
        return dg.MetadataValue.int(raw)
    if isinstance(raw, float):
        return dg.MetadataValue.float(raw)
    return dg.MetadataValue.json(raw) if isinstance(raw, list | dict) else dg.MetadataValue.text(_text(raw))
