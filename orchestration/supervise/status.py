"""What `runbell status` shows: the supervisor's board, and what the system says about its processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import psutil
from filelock import FileLock, Timeout

from orchestration.supervise import crews, leftovers
from orchestration.supervise.board import Row, Snapshot, read_board
from orchestration.supervise.crews import CrewState
from orchestration.supervise.home import Home
from orchestration.supervise.processes import family

AWAY_SECONDS = 60.0
MOST_ATTEMPTS = 6
"""Failed connections that take a minute: the link's own instant is that of the last one."""
Overall = Literal["ready", "starting", "degraded", "stopping", "down", "abandoned"]


@dataclass(frozen=True)
class ProcessStatus:
    """One line; memory is that of the whole family, shared pages divided among those that share them.

    `died` says how it ended before it was last started again.
    """

    name: str
    state: str
    healthy: bool
    detail: str = ""
    pid: int | None = None
    port: int | None = None
    memory_mb: float | None = None
    uptime_s: float | None = None
    restarts: int = 0
    died: str = ""
    processes: int = 0


@dataclass(frozen=True)
class Status:
    """The whole installation. `abandoned`: processes live, and nobody watches them."""

    overall: Overall
    home: str
    supervisor_pid: int | None = None
    uptime_s: float | None = None
    problems: tuple[str, ...] = ()
    rows: tuple[ProcessStatus, ...] = field(default_factory=tuple[ProcessStatus, ...])
    workers: tuple[CrewState, ...] = field(default_factory=tuple[CrewState, ...])
    channels: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])

    @property
    def well(self) -> bool:
        """Whether everything runs and is healthy."""
        return self.overall == "ready"


def is_supervised(home: Home) -> bool:
    """Whether a supervisor holds this home's lock."""
    if not home.lock.exists():
        return False
    try:
        with FileLock(home.lock, timeout=0):
            return False
    except Timeout:
        return True


def supervisor(home: Home) -> Snapshot | None:
    """Return what the live supervisor published; None where there is none, or it has only just started."""
    board = read_board(home.state)
    if board is None or not is_supervised(home):
        return None
    try:
        began = psutil.Process(board.supervisor_pid).create_time()
    except psutil.Error:
        return None
    return board if abs(began - board.supervisor_began) < 2 else None


def status(home: Home, now: float) -> Status:
    """Look at everything."""
    board = supervisor(home)
    if board is None:
        if left := leftovers.find(home):
            problem = f"The supervisor is gone, but {len(left)} processes still run. {leftovers.REMEDY}"
            return Status("abandoned", str(home.path), problems=(problem,))
        return Status("down", str(home.path))
    rows = tuple(_row(row, now) for row in board.rows.values())
    problems = [*board.problems]
    if now - board.written_at > 30:
        problems.append("The supervisor has not written its state for 30 s: is the disk full?")
    workers = crews.read(home.workers, now)
    problems += [crew.problem for crew in workers if crew.problem]
    return Status(
        overall=_overall(board, rows, problems),
        home=str(home.path),
        supervisor_pid=board.supervisor_pid,
        uptime_s=now - board.began_at,
        problems=tuple(problems),
        rows=rows,
        workers=workers,
    )


def with_channels(found: Status, channels: Mapping[str, Mapping[str, object]], now: datetime) -> Status:
    """Add how the gateway's channels are connected. One that is refused, or away for a minute, is a problem."""
    problems = [f"{name}: {link.get('detail')}" for name, link in channels.items() if _is_broken(link, now)]
    overall: Overall = "degraded" if problems and found.overall == "ready" else found.overall
    return replace(found, channels=channels, problems=(*found.problems, *problems), overall=overall)


def _is_broken(link: Mapping[str, object], now: datetime) -> bool:
    if link.get("state") == "refused":
        return True
    if link.get("state") not in ("down", "connecting") or not link.get("attempts"):
        return False
    try:
        since = datetime.fromisoformat(str(link.get("since")))
    except ValueError:
        return True
    return (now - since).total_seconds() > AWAY_SECONDS or int(str(link["attempts"])) >= MOST_ATTEMPTS


def _overall(board: Snapshot, rows: tuple[ProcessStatus, ...], problems: list[str]) -> Overall:
    if board.phase in ("stopping", "stopped"):
        return "stopping"
    if board.phase == "starting":
        return "starting"
    return "ready" if not problems and all(row.healthy for row in rows) else "degraded"


def _row(row: Row, now: float) -> ProcessStatus:
    relatives = family(row.pid) if row.pid else []
    alive_since = row.ready_at or row.began_at
    return ProcessStatus(
        name=row.name,
        state=row.state,
        healthy=row.state in ("ready", "done") and row.problem is None,
        detail=row.problem or row.detail,
        pid=row.pid,
        port=row.port,
        memory_mb=_memory(relatives) if relatives else None,
        uptime_s=now - alive_since if row.pid and alive_since else None,
        restarts=row.restarts,
        died=row.died,
        processes=len(relatives),
    )


def _memory(processes: list[psutil.Process]) -> float:
    return round(sum(_share(process) for process in processes) / 1e6, 1)


def _share(process: psutil.Process) -> int:
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass  # Another user's process, or one that has just ended.
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0
