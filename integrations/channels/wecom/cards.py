"""What an app sends: texts, template cards and files as `message/send` wants them. Pure.

developer.work.weixin.qq.com/document/path/90236. A notice card must lead somewhere, so a card without an address and
without buttons is sent as text. WeCom only advises lengths for most fields; longer ones are cut on some clients.
"""

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

from integrations.channels.degrade import STATES, card_text, plain
from integrations.messages import Choice, OutboundMessage

MAX_BUTTONS = 6
MAX_TEXT = 2048
TITLE, SUBTITLE, VALUE, LABEL, LINES = 36, 160, 30, 20, 6
STYLES = {"primary": 1, "default": 2, "danger": 3}
Json = dict[str, Any]
Seal = Callable[[Choice], str]


def bodies(message: OutboundMessage, seal: Seal) -> list[Json]:
    """Return the bodies, without receiver, that show a message but for its files; in order."""
    card = _card(message, seal)
    text = "" if card is not None and message.card is not None else message.text
    if message.card is not None and card is None:
        text = message.text or plain(card_text(message.card))
    found: list[Json] = []
    if card is None or (message.card is None and not _short(message.text)):
        found = [{"msgtype": "text", "text": {"content": text}}] if text.strip() else []
    return found if card is None else [*found, {"msgtype": "template_card", "template_card": card}]


def file_body(kind: str, media_id: str) -> Json:
    """Return the body that shows an uploaded file."""
    return {"msgtype": kind, kind: {"media_id": media_id}}


def task_id(message: OutboundMessage) -> str:
    """Return the card's id: the same for every attempt, so that WeCom refuses a second one of them."""
    name = f"{message.key}\n{message.address.conversation}" if message.key else uuid.uuid4().hex
    return hashlib.sha256(name.encode()).hexdigest()[:48]


def _card(message: OutboundMessage, seal: Seal) -> Json | None:
    if not message.choices:
        return _notice(message)
    card = _facts(message)
    card["card_type"] = "button_interaction"
    card["task_id"] = task_id(message)
    card["button_list"] = [
        {"text": _cut(choice.label, LABEL), "style": STYLES[choice.style], "key": seal(choice)}
        for choice in message.choices[:MAX_BUTTONS]
    ]
    return card


def _notice(message: OutboundMessage) -> Json | None:
    if message.card is None or not message.card.url or len(message.card.url) > 2000:
        return None
    return {**_facts(message), "card_type": "text_notice"}


def _facts(message: OutboundMessage) -> Json:
    card = message.card
    if card is None:
        if not _short(message.text):
            chinese = any("\u3400" <= sign <= "\u9fff" for sign in message.text)
            return {"main_title": {"title": "请选择" if chinese else "Choose"}}
        title, _, rest = message.text.strip().partition("\n")
        return _titled(title, rest.strip())
    steps = [
        (step.name, STATES[step.state] + (f" {step.ms / 1000:.1f} s" if step.ms is not None else ""))
        for step in card.steps
    ]
    lines = [(field.name, field.value) for field in card.fields] + steps
    facts = _titled(f"{STATES[card.state]} {card.title}".strip(), plain(card.text))
    if lines:
        facts["horizontal_content_list"] = [
            {"keyname": _cut(name, VALUE), "value": _cut(value, VALUE)} for name, value in lines[-LINES:]
        ]
    if card.url and len(card.url) <= 2000:
        facts["card_action"] = {"type": 1, "url": card.url}
    return facts


def _titled(title: str, rest: str) -> Json:
    if len(title) > TITLE:
        return {"sub_title_text": _cut(f"{title}\n{rest}".strip(), SUBTITLE)}
    found: Json = {"main_title": {"title": title}}
    if rest:
        found["sub_title_text"] = _cut(rest, SUBTITLE)
    return found


def _short(text: str) -> bool:
    """Say whether a card shows the whole text."""
    return bool(text.strip()) and len(text.strip()) <= SUBTITLE


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
