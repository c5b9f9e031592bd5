"""Two networks, simulated in a thread of their own, and what the people there say, press and see."""

import asyncio
import copy
import json
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from integrations.channels.simulators.base import Simulator
from integrations.channels.simulators.slack import SimulatedSlack
from integrations.channels.simulators.telegram import SimulatedTelegram
from integrations.settings import Channels

T = TypeVar("T")
Json = dict[str, Any]
PATIENCE_S = 90.0


class Town:
    """Slack by Socket Mode, Telegram by long polling; nothing of it needs the platform to be up."""

    def __init__(self) -> None:
        self.slack = SimulatedSlack()
        self.telegram = SimulatedTelegram()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        for network in self._networks:
            self.do(network.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for network in self._networks:
            self.do(network.__aexit__(kind, error, trace))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def _networks(self) -> tuple[Simulator, ...]:
        return (self.slack, self.telegram)

    def sections(self) -> str:
        """Return the settings that lead here, as TOML."""
        channels = {"slack": self.slack.settings("socket"), "telegram": self.telegram.settings("polling")}
        kept = Channels.model_validate(channels).model_dump(mode="json", exclude_none=True, include=set(channels))
        lines = (f"[channels.{name}]\n{_pairs(section)}" for name, section in kept.items())
        return "\n".join(lines)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the networks' own thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S + 30)

    def look(self, at: Callable[[], T]) -> T:
        """Look at something while nothing there changes."""

        async def looking() -> T:
            return at()

        return self.do(looking())

    # Slack: everybody has a direct conversation there; approvals are asked for in C1.

    def says(self, text: str, *, user: str, channel: str) -> str:
        """Say something on Slack; returns its time stamp."""
        return self.do(self.slack.say(channel, text, user=user))

    def changes(self, stamp: str, before: str, now: str, *, user: str, channel: str) -> None:
        """Edit what was said on Slack."""
        message = {"type": "message", "user": user, "ts": stamp, "text": now, "edited": {"ts": stamp}}
        event: Json = {"type": "message", "subtype": "message_changed", "channel": channel, "ts": stamp}
        more = {"channel_type": "im", "message": message, "previous_message": message | {"text": before}}
        self.do(self.slack.event(event | more))

    def fills(self, card: Json, *, user: str, **values: str) -> None:
        """Open the form of a card on Slack and send it."""
        self.do(self.slack.press(card["ts"], "Run", user=user))
        self.do(self.slack.until(lambda: self.slack.views, seconds=PATIENCE_S))
        self.do(self.slack.submit(values, user=user))

    def presses(self, card: Json, label: str, *, user: str) -> None:
        """Press a button below a message on Slack, as it is shown, or was shown when `card` was kept."""
        now = self.look(lambda: self.slack.messages[card["ts"]])
        self.look(lambda: self.slack.messages.update({card["ts"]: card}))
        self.do(self.slack.press(card["ts"], label, user=user))
        self.look(lambda: self.slack.messages.update({card["ts"]: now}))

    def on_slack(self, *words: str, channel: str = "") -> Json:
        """Wait for a message on Slack that shows all these words, wherever they stand; returns a copy of it."""
        return self._seen(self.slack, lambda: self.slack.posted(channel), words)

    def on_telegram(self, *words: str, chat: int) -> Json:
        """Wait for a message in a chat of Telegram that shows all these words; returns a copy of it."""

        def shown() -> list[Json]:
            return [one for one in self.telegram.messages.values() if one["chat_id"] == chat]

        return self._seen(self.telegram, shown, words)

    def _seen(self, network: Simulator, shown: Callable[[], list[Json]], words: tuple[str, ...]) -> Json:
        def found() -> list[Json]:
            told = [(one, json.dumps(one, ensure_ascii=False)) for one in shown()]
            return [one for one, text in told if all(word in text for word in words)]

        try:
            self.do(network.until(found, seconds=PATIENCE_S))
        except TimeoutError:
            seen = json.dumps(self.look(shown), ensure_ascii=False)[-4000:]
            raise AssertionError(f"waited in vain for {words} in {seen}") from None
        return self.look(lambda: copy.deepcopy(found()[-1]))


def _pairs(section: Json) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in section.items())
