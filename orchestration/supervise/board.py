"""What the supervisor knows about everything it keeps, published as RUNBELL_HOME/run/state.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from orchestration.supervise.home import read_json, write_private

State = Literal["waiting", "starting", "ready", "restarting", "stopping", "stopped", "done"]
Phase = Literal["starting", "ready", "stopping", "stopped", "failed"]


@dataclass
class Row:
    """One process or step. Instants are Unix seconds; `detail` says what is being waited for, or why it died.

    `died` is kept after it was started again: how it ended last.
    """

    name: str
    kind: Literal["process", "step"] = "process"
    state: State = "waiting"
    detail: str = ""
    pid: int | None = None
    port: int | None = None
    began_at: float | None = None
    ready_at: float | None = None
    restarts: int = 0
    died: str = ""
    progress: float | None = None
    problem: str | None = None
    stop_signal: int = 15


@dataclass
class Snapshot:
    """The whole board at one instant."""

    supervisor_pid: int = 0
    supervisor_began: float = 0.0
    phase: Phase = "starting"
    problems: list[str] = field(default_factory=list[str])
    began_at: float = 0.0
    ready_at: float | None = None
    written_at: float = 0.0
    version: str = ""
    rows: dict[str, Row] = field(default_factory=dict[str, Row])

    @property
    def all_ready(self) -> bool:
        """Whether everything runs, or is done where it is a step."""
        return bool(self.rows) and all(row.state in ("ready", "done") for row in self.rows.values())


class Board:
    """Collects changes; `publish` writes them when there are any."""

    def __init__(self, path: Path, snapshot: Snapshot) -> None:
        self._path = path
        self.snapshot = snapshot
        self._written = ""

    def row(self, name: str) -> Row:
        """Return the row of a process, to be changed in place."""
        return self.snapshot.rows[name]

    def publish(self, now: float) -> None:
        """Write the file where something changed or it is older than five seconds. Raises OSError."""
        content = asdict(self.snapshot) | {"written_at": 0.0}
        text = json.dumps(content, ensure_ascii=False)
        if text == self._written and now - self.snapshot.written_at < 5:
            return
        self.snapshot.written_at = now
        write_private(self._path, json.dumps(asdict(self.snapshot), ensure_ascii=False))
        self._written = text


def read_board(path: Path) -> Snapshot | None:
    """Return what a supervisor published last; None where there is nothing to be read."""
    found = read_json(path)
    try:
        rows = found.pop("rows", {})
        assert isinstance(rows, Mapping)
        snapshot = Snapshot(**found)  # pyright: ignore[reportArgumentType]
        snapshot.rows = {str(name): Row(**row) for name, row in rows.items()}
    except (TypeError, AssertionError):
        return None
    return snapshot if snapshot.supervisor_pid else None
