"""Keep a push connection open for ever: heartbeat, jittered back-off without end, a watchdog for silent death.

    async def listen(self, receive):
        await self._keeper.run(lambda alive: self._converse(receive, alive))

`_converse` connects, calls `alive()` for every sign of life (a frame, a pong, an empty poll), and returns or raises
when the connection is over; both lead to the next one. A refusal that another attempt won't cure (Unauthorized,
Misconfigured) is shown as such and tried again slowly, since an operator may repair it meanwhile.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from integrations.channels import Link, LinkState
from integrations.errors import PermanentError, TemporaryError
from integrations.messages import utc_now

logger = logging.getLogger(__name__)
Alive = Callable[[], None]
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
REFUSED_PAUSE_SECONDS = 300.0
STEADY_SECONDS = 30.0
END_SECONDS = 5.0


class Keeper:
    """Keeps one connection. `silence_s` is how long the network may say nothing before it is taken for dead."""

    def __init__(
        self,
        name: str,
        *,
        silence_s: float,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._name = name
        self._silence_s = silence_s
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._heard_at = 0.0
        self._link = Link("connecting", clock())

    @property
    def link(self) -> Link:
        """How the connection is now."""
        return self._link

    async def run(self, converse: Callable[[Alive], Awaitable[object]]) -> None:
        """Connect again and again until cancelled."""
        failures = 0
        while True:
            self._set("connecting", attempts=failures)
            began = self._now()
            detail, refused, asked = await self._once(converse)
            failures = 1 if self._now() - began > STEADY_SECONDS else failures + 1
            self._set("refused" if refused else "down", detail, failures)
            logger.warning("connection lost", extra={"channel": self._name, "why": detail, "attempt": failures})
            await self._sleep(self._pause(failures, asked, refused=refused))

    async def _once(self, converse: Callable[[Alive], Awaitable[object]]) -> tuple[str, bool, float]:
        """Return why a connection ended, whether we were refused, and how long we were asked to wait."""
        self._heard_at = self._now()
        talk = asyncio.create_task(_call(converse, self._alive))
        watch: asyncio.Task[object] = asyncio.create_task(self._watch())
        try:
            await asyncio.wait([talk, watch], return_when=asyncio.FIRST_COMPLETED)
            if not talk.done():
                return f"nothing was heard for {self._silence_s:.0f} s", False, 0.0
            talk.result()
        except TemporaryError as error:
            return str(error), False, error.after
        except PermanentError as error:
            return str(error), True, 0.0
        except Exception as error:
            logger.debug("a connection ended", exc_info=error)
            return f"{type(error).__name__}: {error}"[:300], False, 0.0
        finally:
            await _end(talk, watch)
        return "the network closed the connection", False, 0.0

    def _alive(self) -> None:
        self._heard_at = self._now()
        if self._link.state != "up":
            self._set("up")

    async def _watch(self) -> object:
        while (left := self._heard_at + self._silence_s - self._now()) > 0:
            await self._sleep(left)
        return None

    def _pause(self, failures: int, asked: float, *, refused: bool) -> float:
        doubled: float = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE_SECONDS)
        if refused:
            doubled = min(doubled * 10, REFUSED_PAUSE_SECONDS)
        return max(asked, doubled * (0.5 + self._jitter() / 2))

    def _set(self, state: LinkState, detail: str = "", attempts: int = 0) -> None:
        self._link = Link(state, self._clock(), detail, attempts)


async def _end(*tasks: asyncio.Task[object]) -> None:
    """Cancel and wait a little: some SDKs swallow cancellation, and must not stop us with them."""
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=END_SECONDS)
    for task in done:
        if not task.cancelled():
            task.exception()


async def _call(converse: Callable[[Alive], Awaitable[object]], alive: Alive) -> object:
    return await converse(alive)
