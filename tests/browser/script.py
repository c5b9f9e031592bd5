"""What the stand-in does with a message: a list of steps. `Gate` holds it until the test opens the gate."""

from collections.abc import Mapping
from dataclasses import dataclass, field

JSON = Mapping[str, object]


@dataclass(frozen=True)
class Op:
    """An op changes its state."""

    name: str
    state: str = "succeeded"
    ms: float | None = None


@dataclass(frozen=True)
class Body:
    """Any progress body."""

    body: JSON


@dataclass(frozen=True)
class Lose:
    """A progress body that is stored, and lost on its way to the page."""

    body: JSON


@dataclass(frozen=True)
class Gate:
    """Wait until the test opens it."""

    name: str


@dataclass(frozen=True)
class Answer:
    """An entry of the assistant."""

    text: str
    attachments: tuple[JSON, ...] = ()
    choices: tuple[JSON, ...] = ()


@dataclass(frozen=True)
class Settle:
    """The message's end."""

    status: str = "answered"


Step = Op | Body | Lose | Gate | Answer | Settle


def delta(text: str) -> Body:
    """Tokens."""
    return Body({"type": "delta", "text": text})


def assistant(answer: Answer, *, hold: str | None = None) -> list[Step]:
    """Return what the assistant's run does; with `hold`, it waits in the middle of its tokens."""
    words = [delta(word + " ") for word in answer.text.split(" ")]
    middle: list[Step] = [*words[: len(words) // 2], Gate(hold), *words[len(words) // 2 :]] if hold else [*words]
    steps: list[Step] = [Op("receive", "started"), Op("receive", ms=3), Op("recall", "started"), Op("recall", ms=12)]
    steps += [Op("think", "started"), *middle, Op("think", ms=840), Op("act", "skipped"), Op("reply", "started")]
    return [*steps, answer, Settle(), Op("reply", ms=6), Op("remember", "started"), Op("remember", ms=21)]


@dataclass
class Message:
    """One message and how far it came."""

    id: str
    event_id: str
    conversation: str
    text: str
    run_id: str
    status: str = "received"
    seq: int = 0
    ops: dict[str, JSON] = field(default_factory=dict)
    partial: str = ""
