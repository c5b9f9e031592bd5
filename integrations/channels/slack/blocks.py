"""Our messages in Slack's Block Kit (docs.slack.dev/reference/block-kit): cards, buttons, forms, modals.

Limits: 50 blocks, 25 buttons in a row, 75 characters on a button, 2,000 in its value, 150 in a header, 10 fields of
2,000, 24 characters in a modal's title, 3,000 of private metadata, 12,000 of Markdown per message.
"""

from collections.abc import Callable, Mapping, Sequence

from integrations.channels.degrade import STATES, card_text, plain
from integrations.errors import InvalidInput
from integrations.messages import Card, Choice, Form, OutboundMessage, Question

Block = dict[str, object]
Seal = Callable[[str], str]
MAX_TEXT = 11_900
MAX_BUTTONS = 25
MAX_STEPS = 30


def content(message: OutboundMessage, seal: Seal, *, replacing: bool = False) -> dict[str, object]:
    """Return the part of `chat.postMessage` and `chat.update` that says the message.

    What replaces another message is always blocks, since Slack keeps old ones where none are given.
    """
    if message.card is None and message.form is None and not message.choices and not replacing:
        return {"markdown_text": message.text or "…"}
    blocks: list[Block] = card_blocks(message.card, message.text) if message.card else _markdown(message.text)
    if message.choices:
        buttons: list[Block] = [_button(index, choice, seal) for index, choice in enumerate(message.choices)]
        blocks.append({"type": "actions", "elements": buttons})
    if message.form is not None:
        blocks += form_blocks(message.form, message.text, seal)
    shown = card_text(message.card) if message.card else ""
    told = message.text or shown or (message.form.title if message.form else "…")
    return {"blocks": blocks[:50], "text": plain(told)[:3000]}


def card_blocks(card: Card, said: str = "") -> list[Block]:
    """Write a card as blocks."""
    title = f"{STATES[card.state]} {card.title}".strip()
    blocks: list[Block] = [{"type": "header", "text": _plain(title, 150)}]
    blocks += _markdown(card.text or ("" if said == card_text(card) else said))
    if card.fields:
        shown: list[Block] = [_mrkdwn(f"*{escape(one.name)}*\n{escape(one.value)}") for one in card.fields[:20]]
        blocks.append({"type": "section", "fields": shown[:10]})
        if shown[10:]:
            blocks.append({"type": "section", "fields": shown[10:]})
    if card.steps:
        lines = [
            f"{STATES[step.state]} {escape(step.name)}" + (f" · {step.ms / 1000:.1f} s" if step.ms is not None else "")
            for step in card.steps[-MAX_STEPS:]
        ]
        blocks.append({"type": "section", "text": _mrkdwn("\n".join(lines), 3000)})
    if card.url:
        blocks.append({"type": "context", "elements": [_mrkdwn(f"<{card.url}>", 3000)]})
    return blocks


def form_blocks(form: Form, said: str, seal: Seal) -> list[Block]:
    """Ask for a form: a modal needs a press first, since Slack opens one only within 3 s of it."""
    head: list[Block] = [] if said else [{"type": "section", "text": _mrkdwn(f"*{escape(form.title)}*")}]
    button: Block = {
        "type": "button",
        "action_id": "form",
        "text": _plain(f"✏️ {form.submit if form.submit != 'Send' else form.title}", 75),
        "style": "primary",
        "value": seal(form.model_dump_json()),
    }
    return [*head, {"type": "actions", "elements": [button]}]


def modal(form: Form, metadata: str) -> Block:
    """Return the view that asks a form's questions."""
    return {
        "type": "modal",
        "callback_id": "form",
        "private_metadata": metadata,
        "title": _plain(form.title, 24),
        "submit": _plain(form.submit, 24),
        "blocks": [_input(index, question) for index, question in enumerate(form.questions[:50])],
    }


def answers(form: Form, values: Mapping[str, str]) -> dict[str, object]:
    """Return the arguments that a submitted modal gives; raises InvalidInput, whose field is the block that fails."""
    found: dict[str, object] = dict(form.args)
    for index, question in enumerate(form.questions[:50]):
        value = values.get(f"q{index}", "").strip()
        if question.kind in {"choice", "boolean"} and value:
            value = _option(question, value, f"q{index}")
        if value:
            found[question.name] = value
        elif question.required:
            raise InvalidInput("This is needed.", field=f"q{index}")
    return found


def escape(said: str) -> str:
    """Escape what Slack's own markup would read."""
    return said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _option(question: Question, value: str, block: str) -> str:
    options = _options(question)
    if not value.isdigit() or int(value) >= len(options):
        raise InvalidInput("Choose one of these.", field=block)
    return options[int(value)].text


def _options(question: Question) -> Sequence[Choice]:
    if question.kind == "boolean" and not question.options:
        return (Choice(label="Yes / 是", text="true"), Choice(label="No / 否", text="false"))
    return question.options[:100]


def _input(index: int, question: Question) -> Block:
    block: Block = {
        "type": "input",
        "block_id": f"q{index}",
        "label": _plain(question.label or question.name, 2000),
        "optional": not question.required,
        "element": _element(question),
    }
    return block | ({"hint": _plain(question.hint, 2000)} if question.hint else {})


def _element(question: Question) -> Block:
    initial: Block
    options = [
        {"text": _plain(option.label, 75), "value": str(index)} for index, option in enumerate(_options(question))
    ]
    if question.kind in {"choice", "boolean"} and options:
        chosen = [options[i] for i, one in enumerate(_options(question)) if one.text == question.value]
        initial = {"initial_option": chosen[0]} if chosen else {}
        return {"type": "static_select", "action_id": "value", "options": options} | initial
    if question.kind == "date":
        initial = {"initial_date": question.value} if question.value else {}
        return {"type": "datepicker", "action_id": "value"} | initial
    initial = {"initial_value": question.value} if question.value else {}
    if question.kind == "number":
        return {"type": "number_input", "is_decimal_allowed": True, "action_id": "value"} | initial
    return {
        "type": "plain_text_input",
        "action_id": "value",
        "multiline": question.kind == "long_text",
    } | initial


def _markdown(said: str) -> list[Block]:
    return [{"type": "markdown", "text": said}] if said.strip() else []


def _button(index: int, choice: Choice, seal: Seal) -> Block:
    if choice.url:
        # Its press is told, too: without a value it says nothing.
        return {"type": "button", "action_id": f"open{index}", "text": _plain(choice.label, 75), "url": choice.url}
    button: Block = {
        "type": "button",
        "action_id": f"choice{index}",
        "text": _plain(choice.label, 75),
        "value": seal(choice.text),
    }
    return button if choice.style == "default" else button | {"style": choice.style}


def _plain(said: str, limit: int) -> Block:
    return {"type": "plain_text", "text": (said if len(said) <= limit else said[: limit - 1] + "…") or "…"}


def _mrkdwn(said: str, limit: int = 2000) -> Block:
    return {"type": "mrkdwn", "text": said if len(said) <= limit else said[: limit - 1] + "…"}
