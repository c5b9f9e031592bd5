"""What every channel keeps to, tried over all that are found, and over one that is a single new file."""

import importlib
import inspect
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from integrations import channels
from integrations.channels import Accepted, Call, Capabilities, Channel, Editing, Hooked, Linked, Streaming, discover
from integrations.channels.degrade import fit
from integrations.channels.outbound import Outbound
from integrations.channels.table import DOCUMENT, renewed, table
from integrations.errors import RunbellError
from integrations.messages import (
    Address,
    Attachment,
    Card,
    Choice,
    Form,
    InboundMessage,
    OutboundMessage,
    Question,
)
from tests.networks import SECTIONS, connected

EXAMPLE = dedent('''
    """A channel in one file: it keeps what it is told."""

    from integrations.channels import Answer, Capabilities, Hook, Rate
    from integrations.errors import Unauthorized
    from integrations.messages import Address, Delivery, InboundMessage


    class Example:
        name = "example"
        repeatable = True
        capabilities = Capabilities(markdown=True, edit=True, max_text=200, rates=(Rate(5, 1.0),))
        hooks = (Hook("/said", "Say something"),)

        def __init__(self):
            self.said = []

        async def listen(self, receive):
            """Return at once."""

        async def accept(self, call, receive):
            if call.headers.get("x-secret") != "open sesame":
                raise Unauthorized("That is not the secret.")
            address = Address(channel=self.name, conversation="c")
            message = InboundMessage(address=address, event_id="e1", account="u1", text=call.body.decode())
            accepted = await receive(message)
            return Answer(200, accepted.message_id, "text/plain")

        async def send(self, message):
            self.said.append(message.text)
            return Delivery(state="sent", platform_id=str(len(self.said)))

        async def edit(self, platform_id, message):
            self.said[int(platform_id) - 1] = message.text
            return Delivery(state="sent", platform_id=platform_id)


    def connect(settings):
        return [Example()]
''')
RICH = OutboundMessage(
    address=Address(channel="any", conversation="c"),
    text="# 标题\n" + "**word** 字 " * 9000,
    choices=tuple(Choice(label=f"Choice {n}", text=f"/choose {n}") for n in range(60)),
    card=Card(title="run"),
    form=Form(title="Refund", command="refund", questions=(Question(name="order", label="Order"),)),
    attachments=(
        Attachment(id="0" * 64, name="a.png", media_type="image/png", size=10),
        Attachment(id="1" * 64, name="b.bin", media_type="application/octet-stream", size=10**9),
    ),
)
GARBAGE = (b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"a":1}', b"a=b", b"<xml/>", b"{" * 50_000, b'{"type":"message"}')
ODD_HEADERS: tuple[dict[str, str], ...] = ({}, {"authorization": "Bearer é"}, {"content-type": "text/\x00"})


CONNECTED = [name for name in SECTIONS if hasattr(importlib.import_module(f"integrations.channels.{name}"), "connect")]


@pytest.fixture(
    params=[*CONNECTED, "teams-webhook", "wecom-robot", "discord gateway", "web", "terminal", "rest", "example"]
)
def channel(request: pytest.FixtureRequest, tmp_path: Path, example: None) -> Channel:
    """Each channel of an installation that has all of them; a second word is another mode than there."""
    name, _, mode = request.param.partition(" ")
    return discover(connected(tmp_path, **({name: {"mode": mode}} if mode else {})))[name]


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Add the example by nothing but its file."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "example.py").write_text(EXAMPLE)
    monkeypatch.setattr(channels, "__path__", [*channels.__path__, str(folder)])
    yield
    sys.modules.pop("integrations.channels.example", None)


def test_its_capabilities_are_told_as_they_are(channel: Channel) -> None:
    can = channel.capabilities

    assert isinstance(can, Capabilities)
    assert can.max_text >= 100
    assert isinstance(channel, Editing) or not can.edit
    assert isinstance(channel, Streaming) or can.streaming != "native"
    assert can.edit or can.streaming != "edits"
    assert all(rate.count > 0 and rate.seconds > 0 for rate in can.rates)


def test_it_gets_only_what_it_can_show(channel: Channel) -> None:
    can = channel.capabilities

    for message in fit(RICH, can):
        assert can.size(message.text) <= can.max_text
        assert message.card is None or can.cards
        assert message.form is None or can.forms
        assert not message.choices or can.buttons is True or len(message.choices) <= int(can.buttons)
        assert all(file.size <= can.max_file for file in message.attachments)
        assert not message.attachments or can.files or can.pictures


async def test_nothing_that_is_not_proven_comes_in_and_nothing_breaks(channel: Channel) -> None:
    if not isinstance(channel, Hooked):
        return
    for hook in channel.hooks:
        names = [part[1:-1].partition(":")[0] for part in hook.path.split("/") if part.startswith("{")]
        for method in hook.methods:
            for body in GARBAGE:
                for headers in ODD_HEADERS:
                    call = Call(dict.fromkeys(names, "alerts"), {}, headers, body, method, hook.path)
                    with pytest.raises(RunbellError):
                        await channel.accept(call, unreachable)


def test_its_methods_are_the_protocols(channel: Channel) -> None:
    assert inspect.iscoroutinefunction(channel.listen)
    assert inspect.iscoroutinefunction(channel.send)
    assert isinstance(channel.repeatable, bool)
    if isinstance(channel, Linked):
        assert channel.link.state in ("connecting", "up", "down", "refused")


def test_its_secrets_are_not_shown(channel: Channel) -> None:
    shown = f"{channel!r} {channel!s}"

    for section in SECTIONS.values():
        for name, value in section.items():
            if any(word in name for word in ("secret", "token", "key", "password")) and isinstance(value, str):
                assert value not in shown


SECRETS = [
    (network, name)
    for network in CONNECTED
    for name, value in SECTIONS[network].items()
    if isinstance(value, str) and any(word in name for word in ("secret", "token", "aes_key", "password"))
]


@pytest.mark.parametrize(("network", "name"), SECRETS, ids=str)
@pytest.mark.parametrize("blank", ["", "env:NOT_SET_ANYWHERE"])
def test_a_channel_with_a_blank_secret_does_not_start(network: str, name: str, blank: str, tmp_path: Path) -> None:
    settings = connected(tmp_path, **{network: {name: blank}})

    assert network not in discover(settings) or OPTIONAL.get(network, set()) & {name}
    assert "web" in discover(settings)


# A secret that the mode of `tests.networks` does not need may be blank; what it would open must then stay shut.
OPTIONAL: dict[str, set[str]] = {"slack": {"app_token"}}


async def test_a_new_channel_is_one_new_file(tmp_path: Path, example: None) -> None:
    found: Any = discover(connected(tmp_path))["example"]
    received: list[InboundMessage] = []

    async def receive(message: InboundMessage) -> Accepted:
        received.append(message)
        return Accepted("m1")

    answer = await found.accept(Call({}, {}, {"x-secret": "open sesame"}, "你好".encode()), receive)
    delivery = await Outbound(found).send(
        OutboundMessage(address=received[0].address, text="Really?", choices=(Choice(label="Yes", text="/yes"),))
    )
    await Outbound(found).send(OutboundMessage(address=received[0].address, text="Done."), earlier=delivery.platform_id)

    assert (answer.content, received[0].text) == ("m1", "你好")
    assert found.said == ["Done."]
    assert "| example | – | yes | numbers |" in table()


def test_the_authorities_that_prove_servers_are_read_once_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    discover(connected(tmp_path))
    read: list[object] = []
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **given: read.append(given))

    assert {"teams", "telegram", "discord", "wecom"} <= set(discover(connected(tmp_path)))
    assert read == []


def test_the_table_in_the_docs_is_current() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")

    assert document == renewed(document), "run: python -m integrations.channels.table --write"


async def unreachable(message: InboundMessage) -> Accepted:
    raise AssertionError(f"nothing may be received, least of all {message}")
