"""What the supervisor has to know of one process or step."""

import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from orchestration.supervise.ports import PortSetting

Probe = Callable[[], Awaitable[str | None]]
"""Returns None when all is well, else what is missing, in words for the operator."""
Report = Callable[[str, float | None], None]
"""Takes what is being done, and the share that is done where it is known."""


@dataclass(frozen=True)
class Spec:
    """A process to keep. `prepare` runs in a thread before each start; `hung_after_s` None: never judged hung.

    `once`: it is a step, and done when it ends with status 0; then `ready` is not asked.
    """

    name: str
    argv: tuple[str, ...]
    ready: Probe | None = None
    needs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    prepare: Callable[[], None] | None = None
    port: int | None = None
    port_setting: PortSetting | None = None
    stop_signal: int = signal.SIGTERM
    grace_s: float = 10.0
    poll_s: float = 0.15
    start_within_s: float = 120.0
    hung_after_s: float | None = None
    once: bool = False
    nice: int = 0


@dataclass(frozen=True)
class Step:
    """Something to be done once per start; it is tried again, with back-off, until it succeeds."""

    name: str
    do: Callable[[Report], Awaitable[None]]
    needs: tuple[str, ...] = ()


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command line of a module of ours."""
    return (sys.executable, "-m", module, *arguments)
