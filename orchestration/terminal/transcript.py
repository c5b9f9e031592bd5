"""What the terminal shows of a conversation: tokens as they come, ops as they happen, the run's link, posts.

An answer that was streamed is not printed again when it enters the transcript, unless it differs. A new connection
tells what was said meanwhile, but not which messages came to their end: an answer in the transcript tells that.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from integrations.gateway.client import SETTLED
from integrations.gateway.live import LiveChat
from orchestration.terminal.answers import file_line, spoken

Frame = Mapping[str, object]
_MARKS = {"started": "…", "succeeded": "✓", "failed": "✗", "skipped": "–"}


@dataclass
class Talking:
    """One message that has no answer yet."""

    event_id: str
    message_id: str | None = None
    seq: int = 0
    streamed: str = ""
    is_mid_line: bool = False
    is_doubtful: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Transcript:
    """Shows the frames of one conversation; `write` takes text without adding a line end; files are at `url`."""

    def __init__(self, live: LiveChat, write: Callable[[str], object], *, url: str, colours: bool = True) -> None:
        self._live = live
        self._write = write
        self._url = url
        self._dim_on, self._dim_off = ("\x1b[2m", "\x1b[0m") if colours else ("", "")
        self._open: dict[str, Talking] = {}
        self._by_message: dict[str, Talking] = {}
        self._answered: deque[str] = deque(maxlen=100)
        self.connected = asyncio.Event()
        self.failures = 0

    async def follow(self) -> None:
        """Show frames for ever."""
        async for frame in self._live.frames():
            self._show(frame)

    async def answered(self, event_id: str) -> None:
        """Wait until the message of this event has come to its end."""
        await self._open.setdefault(event_id, Talking(event_id)).over.wait()
        del self._open[event_id]

    def _show(self, frame: Frame) -> None:
        shown = {
            "ready": self._on_ready,
            "lost": self._on_lost,
            "accepted": self._on_accepted,
            "snapshot": self._on_snapshot,
            "progress": self._on_progress,
            "entry": self._on_entry,
            "settled": self._on_settled,
            "problem": self._on_problem,
        }.get(str(frame["type"]))
        if shown is not None:
            shown(frame)

    def _on_ready(self, _: Frame) -> None:
        self.connected.set()
        for talking in self._open.values():
            talking.is_doubtful = True

    def _on_lost(self, frame: Frame) -> None:
        if frame.get("attempt") == 0:
            self._line("(the connection is lost; connecting again)")

    def _on_accepted(self, frame: Frame) -> None:
        talking = self._open.setdefault(str(frame["event_id"]), Talking(str(frame["event_id"])))
        talking.message_id = str(frame["message_id"])
        self._by_message[talking.message_id] = talking
        if talking.message_id in self._answered:
            self._end(talking)

    def _on_snapshot(self, frame: Frame) -> None:
        """Catch up with a message: show the part of its answer that was not seen yet."""
        if frame.get("status") in SETTLED:
            return  # Its answer was shown, and `settled` follows.
        event_id = str(frame["event_id"])
        talking = self._open.get(event_id)
        if talking is None:
            talking = self._open[event_id] = Talking(event_id)
            self._line(f"(still working on: {str(frame.get('text'))[:80]})")
        self._on_accepted(frame)
        talking.is_doubtful = False
        talking.seq = max(talking.seq, int(cast("int", frame["seq"])))
        partial = str(frame.get("partial") or "")
        if partial.startswith(talking.streamed):
            self._stream(talking, partial[len(talking.streamed) :])

    def _on_progress(self, frame: Frame) -> None:
        talking = self._by_message.get(str(frame["message_id"]))
        seq = int(cast("int", frame["seq"]))
        if talking is None or seq <= talking.seq:
            return
        talking.seq = seq
        body = cast("Frame", frame["body"])
        match body.get("type"):
            case "delta":
                self._stream(talking, str(body.get("text", "")))
            case "reset":
                self._break(talking)
                talking.streamed = ""
            case "run":
                self._dim(talking, f"{body.get('job')}: {body.get('url')}")
            case "op" if body.get("state") != "started":
                took = f" {float(cast('float', body['ms'])):.0f} ms" if body.get("ms") is not None else ""
                self._dim(talking, f"{_MARKS.get(str(body.get('state')), '·')} {body.get('op')}{took}")
            case _:
                pass

    def _on_entry(self, frame: Frame) -> None:
        text = str(frame.get("text", ""))
        talking = self._by_message.get(str(frame.get("message_id")))
        if frame.get("role") == "user":
            if talking is None:
                self._line(f"› {text}")
            return
        if talking is not None and talking.streamed.strip() == text.strip():
            self._break(talking)
        else:
            if talking is not None:
                self._break(talking)
            self._line(text)
        for attachment in cast("Sequence[Frame]", frame.get("attachments") or ()):
            self._line(file_line(attachment, self._url))
        if choices := spoken(frame):
            self._line(f"{self._dim_on}say: {' · '.join(choices)}{self._dim_off}")
        self._answered.append(str(frame.get("message_id")))
        if talking is not None and talking.is_doubtful:
            self._end(talking)

    def _on_settled(self, frame: Frame) -> None:
        talking = self._by_message.pop(str(frame["message_id"]), None)
        if talking is None:
            return
        if frame.get("status") != "answered":
            self.failures += 1
        self._end(talking)

    def _on_problem(self, frame: Frame) -> None:
        self._line(f"✗ {frame.get('title')}: {frame.get('detail')}")
        if (talking := self._open.get(str(frame.get("event_id")))) is not None:
            self.failures += 1
            self._end(talking)

    def _end(self, talking: Talking) -> None:
        self._break(talking)
        talking.over.set()

    def _stream(self, talking: Talking, text: str) -> None:
        if text:
            self._write(text)
            talking.streamed += text
            talking.is_mid_line = not text.endswith("\n")

    def _break(self, talking: Talking) -> None:
        if talking.is_mid_line:
            self._write("\n")
            talking.is_mid_line = False

    def _dim(self, talking: Talking, text: str) -> None:
        self._break(talking)
        self._line(f"{self._dim_on}  {text}{self._dim_off}")

    def _line(self, text: str) -> None:
        self._write(text + "\n")
