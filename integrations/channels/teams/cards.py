"""Adaptive cards (schema 1.5, what Teams shows everywhere): facts, steps, buttons and forms; and the activity around.

Buttons are Action.Execute, which Teams answers over HTTP, with Action.Submit where a client knows only that. What
they carry is sealed. adaptivecards.io/explorer, learn.microsoft.com/microsoftteams/platform/task-modules-and-cards
"""

from collections.abc import Callable
from typing import Any

from integrations.channels.degrade import STATES
from integrations.channels.teams.inbound import BUTTON, FORM
from integrations.messages import Card, Choice, Form, OutboundMessage, Question

CARD = "application/vnd.microsoft.card.adaptive"
STYLES = {"default": "default", "primary": "positive", "danger": "destructive"}
COLOURS = {"neutral": "default", "waiting": "warning", "running": "accent", "succeeded": "good", "failed": "attention"}
Json = dict[str, Any]
Seal = Callable[[str], str]


def activity(message: OutboundMessage, seal: Seal, seal_form: Callable[[Form], str]) -> Json:
    """Return the activity that shows a message: Markdown, or a card where there is more than text."""
    if message.card is None and message.form is None and not message.choices:
        return {"type": "message", "textFormat": "markdown", "text": message.text}
    card = adaptive(message, seal, seal_form)
    summary = (
        message.text or (message.card.title if message.card else "") or (message.form.title if message.form else "")
    )
    return {"type": "message", "summary": summary[:200], "attachments": [{"contentType": CARD, "content": card}]}


def adaptive(message: OutboundMessage, seal: Seal, seal_form: Callable[[Form], str]) -> Json:
    """Return the card of a message."""
    body = _facts(message.card) if message.card else [_text(message.text)] if message.text.strip() else []
    actions = [_button(choice, seal) for choice in message.choices]
    if message.form is not None:
        body += [_text(message.form.title, weight="bolder"), *(_input(question) for question in message.form.questions)]
        actions.append(_execute(message.form.submit, {FORM: seal_form(message.form)}, "positive"))
    if message.card is not None and message.card.url:
        actions.append({"type": "Action.OpenUrl", "title": "↗", "url": message.card.url})
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.5",
        "body": body or [_text(" ")],
        "actions": actions,
        "msteams": {"width": "Full"},
    }


def _button(choice: Choice, seal: Seal) -> Json:
    if choice.url:
        return {"type": "Action.OpenUrl", "title": choice.label, "url": choice.url}
    return _execute(choice.label, {BUTTON: seal(choice.text)}, STYLES[choice.style])


def _facts(card: Card) -> list[Json]:
    title = f"{STATES[card.state]} {card.title}".strip()
    body = [_text(title, weight="bolder", color=COLOURS[card.state])]
    body += [_text(card.text)] if card.text else []
    if card.fields:
        facts = [{"title": field.name, "value": field.value} for field in card.fields]
        body.append({"type": "FactSet", "facts": facts})
    for step in card.steps:
        took = f" · {step.ms / 1000:.1f} s" if step.ms is not None else ""
        body.append(_text(f"{STATES[step.state]} {step.name}{took}", spacing="small"))
    return body


def _text(text: str, **more: str) -> Json:
    return {"type": "TextBlock", "text": text, "wrap": True, **more}


def _execute(title: str, data: Json, style: str) -> Json:
    submit: Json = {"type": "Action.Submit", "title": title, "data": data}
    return {
        "type": "Action.Execute",
        "title": title,
        "verb": "runbell",
        "data": data,
        "style": style,
        "fallback": submit,
    }


def _input(question: Question) -> Json:
    shown: Json = {"id": question.name, "label": question.label, "isRequired": question.required}
    if question.required:
        shown["errorMessage"] = question.label
    if question.value:
        shown["value"] = question.value
    if question.kind == "choice":
        options = [{"title": option.label, "value": option.text} for option in question.options]
        return {**shown, "type": "Input.ChoiceSet", "choices": options}
    if question.kind == "boolean":
        return {**shown, "type": "Input.Toggle", "title": question.label}
    if question.kind == "date":
        return {**shown, "type": "Input.Date"}
    shown["placeholder"] = question.hint
    if question.kind == "number":
        return {**shown, "type": "Input.Number"}
    if question.kind == "secret":
        return {**shown, "type": "Input.Text", "style": "Password"}
    return {**shown, "type": "Input.Text", "isMultiline": question.kind == "long_text"}
