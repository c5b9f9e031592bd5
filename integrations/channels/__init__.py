"""Channels: one file (or folder) per network, found by its place here; nobody else has to know a new one.

A module of this package offers `connect(settings) -> Iterable[Channel]`, which returns nothing where its
network is not set up. A channel that networks call over HTTP also has `hooks` (Hooked): the gateway serves them under
`/channels/{name}` and leaves authentication of the raw bytes to them, before anything is parsed.
"""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from integrations.errors import Misconfigured
from integrations.messages import Delivery, InboundMessage, OutboundMessage
from integrations.settings import Settings


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

    async def listen(self, receive: Receive) -> None:
        """Take messages until cancelled; return at once where the network calls us instead."""
        ...

    async def send(self, message: OutboundMessage) -> Delivery:
        """Deliver one message.

        Raises TemporaryError where it surely was not delivered and may be tried again after `after` seconds,
        PermanentError where it never will be; returns state `unknown` where nobody can tell.
        """
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
    """What a network sent: header names in lower case, the body untouched."""

    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network gets back; errors are raised instead."""

    status: int
    content: Mapping[str, object]


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


class Module(Protocol):
    """What each file of this package offers."""

    def connect(self, settings: Settings) -> Iterable[Channel]:
        """Return the channels of this network that are set up."""
        ...


def discover(settings: Settings) -> dict[str, Channel]:
    """Return all channels that are set up, by name; raise Misconfigured for two of one name."""
    channels: dict[str, Channel] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for channel in getattr(module, "connect", _none)(settings):
            if channel.name in channels:
                raise Misconfigured(f"Two channels are called {channel.name}: rename one.")
            channels[channel.name] = channel
    return channels


def _none(_: Settings) -> Iterable[Channel]:
    return ()
