"""What we send to Discord: message bodies, buttons, embeds, modals. Pure.

Limits: discord.com/developers/docs/resources/message, components/reference. Nobody is pinged by what we say.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from integrations.channels.degrade import STATES
from integrations.messages import Card, Choice, Form, OutboundMessage

MAX_TEXT, MAX_BUTTONS, MAX_INPUTS, MAX_FILE = 2000, 25, 5, 10 * 1024 * 1024
PRESS, ASK, FORM = "b:", "f:", "m:"
STYLES = {"primary": 1, "default": 2, "danger": 4}
LINK = 5
COLOURS = {"neutral": 0x5865F2, "waiting": 0xFEE75C, "running": 0x3498DB, "succeeded": 0x57F287, "failed": 0xED4245}
EPHEMERAL = 64
Json = dict[str, Any]
Seal = Callable[[str], str]


def body(message: OutboundMessage, seal: Seal) -> Json:
    """Return a message as it is sent, or put in the place of another."""
    found: Json = {"content": message.text, "allowed_mentions": {"parse": []}, "components": _rows(message, seal)}
    found["embeds"] = [embed(message.card)] if message.card is not None else []
    if message.card is not None and message.text.strip() in {"", message.card.title}:
        found["content"] = ""
    return found


def nonce(message: OutboundMessage) -> Json:
    """Return what makes a second attempt find the first (`enforce_nonce`, 25 characters at most)."""
    if not message.key:
        return {}
    return {"nonce": hashlib.sha256(message.key.encode()).hexdigest()[:25], "enforce_nonce": True}


def embed(card: Card) -> Json:
    """Return a card as an embed."""
    steps = [
        f"{STATES[step.state]} {step.name}" + (f" · {step.ms / 1000:.1f} s" if step.ms is not None else "")
        for step in card.steps
    ]
    found: Json = {
        "title": _cut(f"{STATES[card.state]} {card.title}".strip(), 256),
        "description": _cut("\n".join(filter(None, [card.text, *steps])), 3000),
        "color": COLOURS[card.state],
        "fields": [
            {"name": _cut(field.name, 100) or "–", "value": _cut(field.value, 100) or "–", "inline": field.short}
            for field in card.fields[:10]
        ],
    }
    if card.url:
        found["url"] = card.url
    return found


def modal(form: Form, token: str) -> Json:
    """Return the answer that opens a form; what does not fit into five inputs is asked for afterwards."""
    return {
        "type": 9,
        "data": {
            "custom_id": FORM + token,
            "title": _cut(form.title, 45),
            "components": [
                {
                    "type": 1,
                    "components": [
                        {
                            "type": 4,
                            "custom_id": question.name[:100],
                            "label": _cut(question.label, 45),
                            "style": 2 if question.kind == "long_text" else 1,
                            "required": question.required,
                            "placeholder": _cut(
                                question.hint or " / ".join(option.label for option in question.options), 100
                            ),
                            "value": question.value[:4000],
                        }
                    ],
                }
                for question in form.questions[:MAX_INPUTS]
            ],
        },
    }


def whisper(text: str) -> Json:
    """Return an answer that only the person sees."""
    return {"type": 4, "data": {"content": text[:MAX_TEXT], "flags": EPHEMERAL, "allowed_mentions": {"parse": []}}}


def _rows(message: OutboundMessage, seal: Seal) -> list[Json]:
    buttons = [_button(choice, seal) for choice in message.choices[:MAX_BUTTONS]]
    if message.form is not None:
        token = seal(message.form.model_dump_json())
        buttons = [{"type": 2, "style": 1, "label": _cut(message.form.title, 80), "custom_id": ASK + token}]
    return [{"type": 1, "components": buttons[index : index + 5]} for index in range(0, len(buttons), 5)]


def _button(choice: Choice, seal: Seal) -> Json:
    if choice.url:
        return {"type": 2, "style": LINK, "label": _cut(choice.label, 80) or "·", "url": choice.url}
    return {
        "type": 2,
        "style": STYLES[choice.style],
        "label": _cut(choice.label, 80) or "·",
        "custom_id": PRESS + seal(choice.text),
    }


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
