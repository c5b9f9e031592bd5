"""One live process, in a session of its own, its output pumped into a log."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

import psutil

from orchestration.supervise.output import Output
from orchestration.supervise.processes import family, is_alive, send, wait_until_gone


class Child:
    """A started process; `stop` ends it and everything it started."""

    def __init__(self, process: asyncio.subprocess.Process, output: Output) -> None:
        self._process = process
        assert process.stdout is not None
        self._pump = asyncio.create_task(output.pump(process.stdout))
        self.pid = process.pid

    @classmethod
    async def start(cls, argv: Sequence[str], env: Mapping[str, str], output: Output, *, nice: int = 0) -> "Child":
        """Start a program. Raises OSError where that fails."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if nice:
            with suppress(psutil.Error):
                psutil.Process(process.pid).nice(nice)
        return cls(process, output)

    async def ended(self) -> int:
        """Wait for the end; return the exit status, negative for a signal."""
        return await self._process.wait()

    async def stop(self, number: int, grace_s: float) -> None:
        """Ask it to end, then kill whatever of its family is left. Idempotent."""
        relatives = await asyncio.to_thread(family, self.pid)
        if self._process.returncode is None:
            self._process.send_signal(number)
            await self._wait(grace_s)
        relatives = {*relatives, *await asyncio.to_thread(family, self.pid)}
        await _kill([one for one in relatives if one.pid != os.getpid()])
        await self._wait(5.0)
        # A grandchild that left the session may still hold the pipe.
        await asyncio.wait([self._pump], timeout=1.0)
        self._pump.cancel()

    async def _wait(self, seconds: float) -> None:
        waiting = asyncio.ensure_future(self._process.wait())
        await asyncio.wait([waiting], timeout=seconds)
        waiting.cancel()


async def _kill(processes: list[psutil.Process]) -> None:
    alive = [process for process in processes if is_alive(process)]
    send(alive, signal.SIGKILL)
    await asyncio.to_thread(wait_until_gone, alive, 5.0)


def describe_end(status: int) -> str:
    """Say in words how a process ended."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
