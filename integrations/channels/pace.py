"""How fast a channel may be spoken to: the network's documented rates per conversation, group, app and tenant.

A sliding window per rate and place, exact and small: at most `count` instants are kept for each. A 429 holds the
conversation, or everybody, back for as long as the network asked. Waiting keeps the order of arrival per
conversation because the outbox hands out one message of it at a time.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence

from integrations.channels.capabilities import Rate
from integrations.errors import RateLimited
from integrations.messages import Address

MAX_PLACES = 20_000
LONGEST_WAIT_SECONDS = 20.0
Key = tuple[str, ...]


class Pace:
    """The budget of one channel in this process."""

    def __init__(
        self,
        rates: Sequence[Rate],
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._rates = tuple(rates)
        self._now = now
        self._sleep = sleep
        self._sent: OrderedDict[Key, deque[float]] = OrderedDict()
        self._paused: OrderedDict[Key, float] = OrderedDict()

    async def wait(self, address: Address, *, group: bool = False, longest: float = LONGEST_WAIT_SECONDS) -> float:
        """Return when one message may go there now, having counted it; returns the seconds waited.

        Raises RateLimited, counting nothing, where that takes longer than `longest` seconds.
        """
        waited = 0.0
        while (pause := self.delay(address, group=group)) > 0:
            if waited + pause > longest:
                raise RateLimited("The network's own limit is reached; this waits its turn.", after=pause)
            await self._sleep(pause)
            waited += pause
        self.count(address, group=group)
        return waited

    def delay(self, address: Address, *, group: bool = False, share: float = 1.0) -> float:
        """Return seconds until a message may go there; `share` is how much of each rate it may use up."""
        now = self._now()
        pauses = [self._paused.get(key, now) - now for key in (("app",), _place(address))]
        for index, rate in self._counting(group=group):
            sent, count = self._sent.get(_key(index, rate, address)), max(1, int(rate.count * share))
            if sent is not None and len(sent) >= count:
                pauses.append(sent[-count] + rate.seconds - now)
        return max(0.0, *pauses)

    def spare(self, address: Address, *, group: bool = False) -> None:
        """Count a message that nobody would miss, as an answer's growing is; half of each rate is not for these.

        Raises RateLimited where the pace does not allow it now.
        """
        if (pause := self.delay(address, group=group, share=0.5)) > 0:
            raise RateLimited("The rest of the network's limit is for whole messages.", after=pause)
        self.count(address, group=group)

    def count(self, address: Address, *, group: bool = False) -> None:
        """Count a message that goes there now."""
        now = self._now()
        for index, rate in self._counting(group=group):
            key = _key(index, rate, address)
            self._sent.setdefault(key, deque(maxlen=rate.count)).append(now)
            self._sent.move_to_end(key)
        while len(self._sent) > MAX_PLACES:
            self._sent.popitem(last=False)

    def pause(self, address: Address, seconds: float, *, everywhere: bool = False) -> None:
        """Let nothing go there, or anywhere, for so long: the network said so."""
        key = ("app",) if everywhere else _place(address)
        self._paused[key] = max(self._paused.get(key, 0.0), self._now() + seconds)
        self._paused.move_to_end(key)
        while len(self._paused) > MAX_PLACES:
            self._paused.popitem(last=False)

    def _counting(self, *, group: bool) -> list[tuple[int, Rate]]:
        return [(index, rate) for index, rate in enumerate(self._rates) if group or rate.per != "group"]


class Paces:
    """The paces of all channels in this process: whatever speaks to one shares its budget."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}

    def of(self, name: str, rates: Sequence[Rate]) -> Pace:
        """Return the pace of a channel."""
        if name not in self._paces:
            self._paces[name] = Pace(rates)
        return self._paces[name]


def _place(address: Address) -> Key:
    return ("place", address.tenant, address.conversation)


def _key(index: int, rate: Rate, address: Address) -> Key:
    if rate.per == "app":
        return (str(index),)
    if rate.per == "tenant":
        return (str(index), address.tenant)
    return (str(index), address.tenant, address.conversation)
