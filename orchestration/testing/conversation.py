"""One person's conversation in a test: say something, press a button, and look at what came of it."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from integrations.database import MessageView
from integrations.gateway.run_card import RunCard
from integrations.messages import Address, Card, Choice, InboundMessage, MessageStatus, utc_now
from orchestration.testing.effects import Done

if TYPE_CHECKING:
    from orchestration.testing.house import House

WITHIN_S = 20.0
_ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})


@dataclass(frozen=True)
class Run:
    """A Dagster run: how it ended (or `STARTED`), and its ops with their states, in the order of their beginning."""

    id: str
    job: str
    status: str
    ops: dict[str, str]
    config: dict[str, object]
    tags: dict[str, str]


class Conversation:
    """What one person says in one room. `say` waits for the answer, or until the run waits for something."""

    def __init__(self, house: "House", name: str, roles: tuple[str, ...], channel: str, room: str) -> None:
        self.house = house
        self.name = name
        self.address = Address(channel=channel, conversation=room, tenant=house.settings.tenant)
        self.account = name.casefold()
        self.last: Said | None = None
        resolve = house.database.principals.resolve
        self.principal = resolve(self.address.tenant, channel, self.account, name=name, roles=roles)

    def say(self, text: str, *, within_s: float = WITHIN_S) -> "Said":
        """Say something and return what came of it. Raises `TimeoutError`."""
        return self._send(self._message(text=text), within_s)

    def command(self, name: str, /, **args: object) -> "Said":
        """Send a command with structured arguments, as a form or `POST /v1/runs` does."""
        return self._send(self._message(command=name, args=args), WITHIN_S)

    def press(self, label: str) -> "Said":
        """Press a button of the newest answer that has one with this label. Raises `LookupError`."""
        for entry in reversed(self.house.database.transcript.recent(self.address, limit=50)):
            for choice in entry.choices:
                if choice.label == label:
                    return self._send(self._message(text=choice.text, kind="action"), WITHIN_S)
        raise LookupError(f"there is no button {label!r}")

    @property
    def posts(self) -> list[str]:
        """All that Runbell has said here, oldest first: answers, notices, questions."""
        entries = self.house.database.transcript.recent(self.address, limit=200)
        return [entry.text for entry in entries if entry.role == "assistant"]

    def person(self, name: str, *, roles: tuple[str, ...] = ("user",), channel: str = "web") -> "Conversation":
        """Return a conversation of somebody else in the same installation."""
        return self.house.person(name, roles=roles, channel=channel)

    def _message(self, **said: object) -> InboundMessage:
        identity = {"address": self.address, "event_id": uuid.uuid4().hex, "account": self.account}
        return InboundMessage.model_validate({**identity, "account_name": self.name, **said})

    def _send(self, message: InboundMessage, within_s: float) -> "Said":
        before = len(self.house.effects.done)
        if self.last is not None:
            self.last.close(before)
        (received,) = self.house.database.inbox.receive([message])
        assert received.message_id is not None
        self.last = Said(self, received.message_id, message, before)
        return self.last.wait(within_s)


class Said:
    """One message and what came of it; every look is at the present state."""

    def __init__(self, conversation: Conversation, message_id: str, message: InboundMessage, before: int) -> None:
        self.message_id = message_id
        self._conversation = conversation
        self._house = conversation.house
        self._message = message
        self._before = before
        self._after: int | None = None

    def close(self, after: int) -> None:
        """Count no effects from now on: something else is said."""
        self._after = after

    def wait(self, within_s: float = WITHIN_S, *, settled: bool = False) -> "Said":
        """Wait until it is answered, or (unless it must be `settled`) waits for something. Raises `TimeoutError`."""

        def resting() -> bool:
            status = self._view.status
            return status.settled or (status is MessageStatus.WAITING and not settled)

        _until(resting, within_s, lambda: f"{self._message.text!r} is {self._view.status.value}")
        return self

    @property
    def status(self) -> str:
        """`answered`, `failed`, or `waiting`."""
        return self._view.status.value

    @property
    def answer(self) -> str:
        """The text of the answer; of several, all."""
        return "\n\n".join(reply.text for reply in self._view.replies)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The buttons below the answer."""
        return tuple(choice for reply in self._view.replies for choice in reply.choices)

    @property
    def buttons(self) -> list[str]:
        """Their labels, without those that lead to a page."""
        return [choice.label for choice in self.choices if not choice.url]

    @property
    def files(self) -> list[str]:
        """The names of the files that came with the answer."""
        return [file.name for reply in self._view.replies for file in reply.attachments]

    @property
    def card(self) -> Card | None:
        """The card of its run, as it would look in the thread of a network now; None where there is none."""
        snapshot = self._house.database.progress.snapshot(self.message_id)
        card = None if snapshot.run is None else RunCard.of(snapshot.run, self._message.received_at, 0.0)
        if card is None:
            return None
        for op in snapshot.ops:
            card.op(op.op, op.state, op.ms)
        state = {"answered": "succeeded", "failed": "failed", "waiting": "waiting"}.get(self.status, "running")
        return card.card(utc_now()).model_copy(update={"state": state})

    @property
    def run(self) -> Run | None:
        """Its run; None where it was answered on the spot."""
        view, house = self._view, self._house
        if view.run_id is None:
            return None
        run_id = view.run_id
        if view.status.settled:

            def ended() -> bool:
                found = house.instance.get_run_by_id(run_id)
                return found is None or found.status.value in _ENDED

            _until(ended, WITHIN_S, lambda: f"the run {run_id} does not end")
        found = house.instance.get_run_by_id(run_id)
        if found is None:
            return None
        ops = {op.op: op.state for op in house.database.progress.snapshot(self.message_id).ops}
        return Run(run_id, found.job_name, found.status.value, ops, dict(found.run_config), dict(found.tags))

    @property
    def effects(self) -> list[Done]:
        """The actions that were recorded from its being said to the next thing that was said here."""
        return self._house.effects.done[self._before : self._after]

    @property
    def _view(self) -> MessageView:
        view = self._house.database.inbox.get(self.message_id)
        assert view is not None
        return view

    def __repr__(self) -> str:
        return f"<{self._message.text!r} → {self.status}: {self.answer!r}>"


def _until(holds: Callable[[], bool], within_s: float, what: Callable[[], str]) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:.0f} s: {what()}")
        time.sleep(0.003)
