"""What a network can show and how fast it may be spoken to: plain values that `degrade`, `pace` and the docs read."""

from dataclasses import dataclass
from typing import Literal

Scope = Literal["conversation", "group", "app", "tenant"]
Unit = Literal["characters", "utf16", "bytes"]


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` sends within any `seconds`, per conversation, per group, or for the whole app or tenant."""

    count: int
    seconds: float
    per: Scope = "conversation"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a channel passes on as it is; `degrade` changes everything else before the channel sees it.

    `buttons` is how many choices fit under one message, as a count or True for no limit worth naming;
    `button_bytes` what one may carry; `links` whether one may lead to an address. `max_text` counts `unit`s of one
    message, as its network counts them.
    `secret_fields` is whether a form hides what is typed into the field of a secret.
    `dialogue` is whether a person reads there and answers within minutes, so that something may be asked back.
    `streaming` is `native` where the channel has a stream of its own, `edits` where one message is edited, at most
    every `edit_interval_s`. `push` names the connection that works without a public address.
    """

    markdown: bool = False
    edit: bool = False
    buttons: int | bool = False
    links: bool = False
    cards: bool = False
    forms: bool = False
    secret_fields: bool = False
    files: bool = False
    pictures: bool = False
    threads: bool = False
    dialogue: bool = True
    streaming: Literal["native", "edits", "none"] = "none"
    max_text: int = 4000
    unit: Unit = "characters"
    max_file: int = 20 * 1024 * 1024
    button_bytes: int = 64
    edit_interval_s: float = 1.0
    rates: tuple[Rate, ...] = ()
    idempotent: bool = False
    push: str = ""

    def size(self, text: str) -> int:
        """Return how much of `max_text` a text takes."""
        if self.unit == "bytes":
            return len(text.encode("utf-8", "surrogatepass"))
        if self.unit == "utf16":
            return len(text.encode("utf-16-le", "surrogatepass")) // 2
        return len(text)
