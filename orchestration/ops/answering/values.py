"""What the assistant's ops hand to each other: small, frozen, and safe to store between two ops."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from integrations.memory.values import Recollection
from integrations.messages import Address, Choice
from orchestration.commands.language import Language
from orchestration.ops.answering.plans import Plan


@dataclass(frozen=True, slots=True)
class Heard:
    """The message to answer. `text` is what will be considered; `characters` is how long it was."""

    message_id: str
    address: Address
    principal_id: str
    direct: bool
    text: str
    characters: int
    language: Language
    accepted_at: datetime
    traceparent: str | None = None
    model: str | None = None
    """The model that was chosen for the conversation."""
    plan: Plan | None = None
    """The plan that this message is the yes to; `text` is the request then."""
    account: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier utterance of the conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """What came to mind. `reachable` is false where the memory could not be asked."""

    passages: tuple[Recollection, ...] = ()
    history: tuple[Turn, ...] = ()
    reachable: bool = True


@dataclass(frozen=True, slots=True)
class Spent:
    """What the calls of models took."""

    model: str
    tokens_in: int = 0
    tokens_out: int = 0
    first_token_ms: float | None = None
    total_ms: float = 0.0
    why: str = ""
    """Why this model: `serving.schema.Decision` in a sentence."""


@dataclass(frozen=True, slots=True)
class Thought:
    """What to say or to propose. `way` tells how it was found; `used` are the passages it rests on.

    `questions` say what is still unclear about a command; then it is not proposed but asked about.
    `read` characters of the message were considered; None where it was all that matters. `hint` is a command
    that may have been meant.
    """

    way: Literal["introduction", "note", "proposal", "clarification", "memory", "talk", "choice", "plan"]
    text: str
    command: str | None = None
    args: dict[str, object] | None = None
    questions: tuple[str, ...] = ()
    used: tuple[Recollection, ...] = ()
    spent: Spent | None = None
    read: int | None = None
    hint: str | None = None
    plan: Plan | None = None
    """With the way `plan`: what waits for a yes, or is carried out before more is thought; else what was done."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What `act` has done: the text of the answer, and the buttons under it; `asks` where it waits for a yes."""

    text: str
    choices: tuple[Choice, ...] = ()
    asks: bool = False
    model: str | None = None
