"""Channels: one file (or folder) per network, found by its place here; nobody else has to know a new one.

A module of this package offers `connect(settings) -> Iterable[Channel]`, which returns nothing where its network
is not set up and raises Misconfigured where a secret is blank, so that this channel alone does not start. The class
has its `name` and `capabilities` as class attributes, so that `table` can write docs/channels.md without settings
(`python -m integrations.channels.table --write`). A channel translates and nothing else:

- in: prove who speaks on the raw bytes (`NETWORK/verify.py`, pure), read them into InboundMessage (text, edit,
  delete, action, form; files through `integrations.files.FileStore`), and await `receive`, which returns once the
  message is stored; only then acknowledge. Our own messages and other bots' are ignored, unknown events
  acknowledged. A push connection lives in `listen`, inside `link.keep`; HTTP calls come through `hooks` and `accept`.
- out: `send` gets what fits `capabilities`, since `outbound` has degraded (`degrade`), split and paced (`pace`) it
  before: choices, card and form are there only if the channel shows them, `message.text` fits `max_text`.
  `message.key` is for the platform's idempotency. Errors are translated: RateLimited with the platform's pause,
  Unavailable where nothing arrived for sure, Rejected for good; a time-out after the bytes went out is
  `Delivery("unknown")`.
- what a button or a form carries to the network and back is sealed by `buttons.Buttons`; addresses that messages
  bring, files above all, are called through `addresses` only.
- more where the network has it: `edit` (Editing), `open_stream` (Streaming), `link` (Linked), `hooks` (Hooked),
  `aclose` (Closing), `attach` (Storing).
"""

import importlib
import logging
import pkgutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from integrations.channels.capabilities import Capabilities, Rate
from integrations.errors import Misconfigured
from integrations.messages import Delivery, InboundMessage, OutboundMessage
from integrations.settings import Settings

if TYPE_CHECKING:
    from integrations.database import Database

logger = logging.getLogger(__name__)
__all__ = [
    "Accepted",
    "Answer",
    "Call",
    "Capabilities",
    "Channel",
    "Closing",
    "Editing",
    "Found",
    "Hook",
    "Hooked",
    "Link",
    "LinkState",
    "Linked",
    "Rate",
    "Receive",
    "Storing",
    "Stream",
    "Streaming",
    "discover",
    "find",
]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that is stored; `duplicate` where its event id was stored before and nothing was added."""

    message_id: str
    duplicate: bool = False


Receive = Callable[[InboundMessage], Awaitable[Accepted]]
"""Store one message; returns only after the commit.

Raises RateLimited for its sender's excess, Overloaded when too much waits, Unavailable without the database:
the network must then not be told that we have it.
"""


class Channel(Protocol):
    """One network."""

    @property
    def name(self) -> str:
        """The name that addresses carry."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether a message that may have arrived can be sent again without being seen twice."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What `send` can show, and how often it may be called."""
        ...

    async def listen(self, receive: Receive) -> None:
        """Take messages until cancelled; return at once where the network calls us instead."""
        ...

    async def send(self, message: OutboundMessage) -> Delivery:
        """Deliver one message.

        Raises TemporaryError where it surely was not delivered and may be tried again after `after` seconds,
        PermanentError where it never will be; returns state `unknown` where nobody can tell.
        """
        ...


@runtime_checkable
class Editing(Protocol):
    """A channel that can change what it sent (`capabilities.edit`)."""

    async def edit(self, platform_id: str, message: OutboundMessage) -> Delivery:
        """Put a message in the place of an earlier one of ours; raises as `send` does. Idempotent."""
        ...


class Stream(Protocol):
    """One answer while it grows. `stream.Throttle` calls it: one call at a time, never too often."""

    @property
    def handle(self) -> str | None:
        """What another process needs to put an end to it; None while nothing is shown."""
        ...

    async def update(self, text: str) -> None:
        """Show the whole text so far."""
        ...

    async def finish(self, message: OutboundMessage) -> Delivery:
        """Show the final state; raises as `send` does, and may be called again then."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """A channel with a stream of its own (`capabilities.streaming` is `native`)."""

    async def open_stream(self, message: OutboundMessage) -> Stream:
        """Begin an answer whose text is still to come; raises as `send` does."""
        ...

    async def take_over(self, handle: str, message: OutboundMessage) -> Delivery:
        """Put the final state in the place of what a process that is gone has begun to show.

        Raises as `send` does, Rejected where that is no longer possible. Idempotent.
        """
        ...


@runtime_checkable
class Closing(Protocol):
    """A channel that holds sessions or sockets."""

    async def aclose(self) -> None:
        """Give them back; called once, when the gateway stops and `listen` and all sends have ended."""
        ...


LinkState = Literal["connecting", "up", "down", "refused"]


@dataclass(frozen=True, slots=True)
class Link:
    """How a push connection is: shown by `runbell status`, `/readyz` and metrics."""

    state: LinkState
    since: datetime
    detail: str = ""
    attempts: int = 0


@runtime_checkable
class Linked(Protocol):
    """A channel that holds a connection open (`link.Keeper` keeps it and knows how it is)."""

    @property
    def link(self) -> Link:
        """How the connection is now."""
        ...


@dataclass(frozen=True, slots=True)
class Hook:
    """An address below `/channels/{name}`, like `/{source}`."""

    path: str
    summary: str
    methods: tuple[str, ...] = ("POST",)
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What a network sent: header names in lower case, the body untouched; `path` is the hook's."""

    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"
    path: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network gets back: JSON, a text as it is, or nothing; errors are raised instead."""

    status: int
    content: Mapping[str, object] | str | None = None
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@runtime_checkable
class Hooked(Protocol):
    """A channel that a network calls over HTTP."""

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """Where it wants to be called."""
        ...

    async def accept(self, call: Call, receive: Receive) -> Answer:
        """Authenticate the raw bytes, parse them, receive the message, answer."""
        ...


@runtime_checkable
class Storing(Protocol):
    """A channel that keeps something in the database; `runbell connect` looks at it without one."""

    def attach(self, database: "Database") -> None:
        """Take the database; called once, before anything else."""
        ...


class Module(Protocol):
    """What each file of this package offers."""

    def connect(self, settings: Settings) -> Iterable[Channel]:
        """Return the channels of this network that are set up."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What is set up: the channels by name, and why others don't start, by the name of their module."""

    channels: Mapping[str, Channel]
    refused: Mapping[str, str]


def discover(settings: Settings) -> dict[str, Channel]:
    """Return all channels that are set up, by name; raises as `find` does."""
    return dict(find(settings).channels)


def find(settings: Settings) -> Found:
    """Return all channels that are set up; raise Misconfigured for two of one name.

    One that must not start, for a blank secret say, is left out, and the log says why.
    """
    found: dict[str, Channel] = {}
    refused: dict[str, str] = {}
    for info in pkgutil.iter_modules(__path__):
        connect = getattr(importlib.import_module(f"{__name__}.{info.name}"), "connect", _none)
        try:
            channels = list(connect(settings))
        except Misconfigured as error:
            logger.error("channel refused: %s", error, extra={"channel": info.name})  # noqa: TRY400 - it says all
            refused[info.name] = str(error)
            continue
        for channel in channels:
            if channel.name in found:
                raise Misconfigured(f"Two channels are called {channel.name}: rename one.")
            found[channel.name] = channel
    return Found(found, refused)


def _none(_: Settings) -> Iterable[Channel]:
    return ()
