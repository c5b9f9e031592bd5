"""Feishu's cards (JSON 2.0): text, facts, steps, buttons and forms. Plain functions from our values to theirs.

All we say is a card, since a card can be changed for 14 days without the hidden count that texts have. What a button
carries is sealed; its conversation travels beside the token, because a press tells the chat but not the thread.
open.feishu.cn/document/feishu-cards/card-json-v2-structure; a card has 30 KB at most and needs client 7.20.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from integrations.channels.degrade import STATES, plain
from integrations.messages import Card, Choice, Form, OutboundMessage, Question

MAX_BYTES = 30_000
ELEMENT = "answer"
COLOURS = {"neutral": "blue", "waiting": "orange", "running": "wathet", "succeeded": "green", "failed": "red"}
Json = dict[str, Any]
Seal = Callable[[str], str]
SUMMARY = 80


def build(message: OutboundMessage, seal: Seal, seal_form: Callable[[Form], str], pictures: Sequence[str] = ()) -> Json:
    """Return the card that shows a message."""
    conversation = message.address.conversation
    elements = _said(message)
    elements += [{"tag": "img", "img_key": key, "alt": {"tag": "plain_text", "content": ""}} for key in pictures]
    if message.choices:
        elements.append(_buttons(message, seal))
    if message.form is not None:
        elements.append(_form(message.form, {"token": seal_form(message.form), "conversation": conversation}))
    card = frame(elements or [_markdown(" ")], summary=message.text or (message.card.title if message.card else ""))
    if message.card is not None:
        card["header"] = _header(message.card)
    return card


def growing(text: str) -> Json:
    """Return the card of an answer that still grows."""
    card = frame([{**_markdown(text or "…"), "element_id": ELEMENT}], summary=text or "…")
    card["config"]["streaming_mode"] = True
    return card


def frame(elements: Sequence[Json], *, summary: str = "") -> Json:
    """Return a card around elements; `summary` is what lists of chats and notifications show."""
    config: Json = {"update_multi": True, "summary": {"content": plain(summary)[:SUMMARY]}}
    return {"schema": "2.0", "config": config, "body": {"elements": list(elements)}}


def write(card: Mapping[str, Any]) -> str:
    """Return a card as its JSON text."""
    return json.dumps(card, ensure_ascii=False, separators=(",", ":"))


def _said(message: OutboundMessage) -> list[Json]:
    elements = list[Json]()
    card = message.card
    if card is None:
        return [_markdown(message.text)] if message.text.strip() else []
    text = card.text or ("" if message.text == card.title else message.text)
    elements += [_markdown(text)] if text.strip() else []
    if card.fields:
        elements.append(_markdown("\n".join(f"**{field.name}**: {field.value}" for field in card.fields)))
    if card.steps:
        elements.append(_markdown("\n".join(_step(step.state, step.name, step.ms) for step in card.steps)))
    if card.url:
        elements.append(_markdown(f"[{card.url}]({card.url})"))
    return elements


def _step(state: str, name: str, ms: int | None) -> str:
    return f"{STATES[state]} {name}" + (f" · {ms / 1000:.1f} s" if ms is not None else "")


def _header(card: Card) -> Json:
    title = f"{STATES[card.state]} {card.title}".strip()
    return {"title": {"tag": "plain_text", "content": title}, "template": COLOURS[card.state]}


def _buttons(message: OutboundMessage, seal: Seal) -> Json:
    columns = [
        {
            "tag": "column",
            "width": "auto",
            "elements": [
                {
                    "tag": "button",
                    "text": {"tag": "plain_text", "content": choice.label},
                    "type": choice.style,
                    "behaviors": [_behavior(choice, seal, message.address.conversation)],
                }
            ],
        }
        for choice in message.choices
    ]
    return {"tag": "column_set", "flex_mode": "flow", "columns": columns}


def _behavior(choice: Choice, seal: Seal, conversation: str) -> Json:
    if choice.url:
        return {"type": "open_url", "default_url": choice.url}
    return _callback(seal(choice.text), conversation)


def _callback(token: str, conversation: str) -> Json:
    return {"type": "callback", "value": {"token": token, "conversation": conversation}}


def _form(form: Form, value: Mapping[str, str]) -> Json:
    elements: list[Json] = [_markdown(f"**{form.title}**")]
    for question in form.questions:
        elements.append(_markdown(question.label + (f"\n{question.hint}" if question.hint else "")))
        elements.append(_question(question))
    elements.append(
        {
            "tag": "button",
            "name": "submit",
            "text": {"tag": "plain_text", "content": form.submit},
            "type": "primary",
            "form_action_type": "submit",
            "behaviors": [{"type": "callback", "value": dict(value)}],
        }
    )
    return {"tag": "form", "name": "form", "elements": elements}


def _question(question: Question) -> Json:
    common: Json = {"name": question.name, "required": question.required}
    hint = {"tag": "plain_text", "content": (question.hint or question.label)[:100]}
    if question.kind in ("choice", "boolean"):
        pairs = [(option.label, option.text) for option in question.options] or [("✅", "true"), ("❌", "false")]
        options = [{"text": {"tag": "plain_text", "content": label}, "value": text} for label, text in pairs]
        chosen = {"initial_option": question.value} if question.value else {}
        return {"tag": "select_static", **common, "placeholder": hint, "options": options, **chosen}
    if question.kind == "date":
        chosen = {"initial_date": question.value} if question.value else {}
        return {"tag": "date_picker", **common, "placeholder": hint, **chosen}
    kind = {"long_text": "multiline_text", "secret": "password"}.get(question.kind, "text")
    return {"tag": "input", **common, "placeholder": hint, "default_value": question.value, "input_type": kind}


def _markdown(text: str) -> Json:
    return {"tag": "markdown", "content": text}
